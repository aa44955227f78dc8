from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from condense.errors import BadInput
from condense.training.losses import as_target, loss_value
from condense.training.recipe import Loss

GENERATOR = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(6, 4, generator=GENERATOR, dtype=torch.float64)
TEACHER = torch.randn(6, 4, generator=GENERATOR, dtype=torch.float64)
CLASSES = torch.tensor([0, 1, 2, 3, 0, 1])


def test_hard_cross_entropy_is_the_mean_log_probability() -> None:
    expected = -OUTPUTS.log_softmax(1)[torch.arange(6), CLASSES].mean()
    torch.testing.assert_close(loss_value(OUTPUTS, CLASSES, Loss()), expected)


def test_soft_cross_entropy_with_temperature_is_the_written_sum() -> None:
    loss = Loss("cross-entropy", temperature=3.0)
    target = as_target(TEACHER, "logits", loss)
    expected = -((TEACHER / 3).softmax(1) * (OUTPUTS / 3).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss_value(OUTPUTS, target, loss), expected)


@pytest.mark.parametrize(("square", "factor"), [(False, 1.0), (True, 400.0)])
def test_kl_is_cross_entropy_less_entropy(square: bool, factor: float) -> None:
    loss = Loss("kl", temperature=20.0, square_factor=square)
    p = as_target(TEACHER, "logits", loss)
    expected = factor * (p * (p.log() - (OUTPUTS / 20).log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(loss_value(OUTPUTS, p, loss), expected)


def test_kl_of_hard_labels_is_their_cross_entropy() -> None:
    torch.testing.assert_close(loss_value(OUTPUTS, CLASSES, Loss("kl")), loss_value(OUTPUTS, CLASSES, Loss()))


def test_squared_error_compares_logits_as_they_are_and_one_hot_classes() -> None:
    target = as_target(TEACHER, "logits", Loss("mse"))
    torch.testing.assert_close(loss_value(OUTPUTS, target, Loss("mse")), (OUTPUTS - TEACHER).square().mean())
    expected = (OUTPUTS - F.one_hot(CLASSES, 4)).square().mean()
    torch.testing.assert_close(loss_value(OUTPUTS, CLASSES, Loss("mse")), expected)


def test_representations_need_a_squared_error() -> None:
    assert as_target(TEACHER, "values", Loss("mse")) is TEACHER
    with pytest.raises(BadInput, match="the recipe needs the loss 'mse', got 'kl'"):
        as_target(TEACHER, "values", Loss("kl"))


@pytest.mark.parametrize("loss", [Loss(), Loss("kl", 2.0), Loss("mse")])
def test_every_loss_has_its_gradient(loss: Loss) -> None:
    outputs = OUTPUTS.clone().requires_grad_()
    target = TEACHER.softmax(1)
    assert torch.autograd.gradcheck(lambda z: loss_value(z, target, loss), (outputs,))


def test_half_outputs_give_a_loss_in_single_precision() -> None:
    assert loss_value(OUTPUTS.bfloat16(), CLASSES, Loss()).dtype == torch.float32
