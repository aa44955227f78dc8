"""FerKD's partition of answers, by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from condense.errors import BadInput
from condense.soft_labels import Calibration

ANSWERS = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.34, 0.33, 0.33]])
CLASSES = torch.tensor([0, 2, 1])


def test_sure_answers_are_kept_unsure_ones_softened_and_the_rest_dropped() -> None:
    found = Calibration(low=0.4, high=0.6, softening=0.1)(ANSWERS.log(), CLASSES)
    torch.testing.assert_close(found, torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.05, 0.9], [0.0, 0.0, 0.0]]))


def test_a_threshold_belongs_to_the_part_above_it() -> None:
    answers = torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    certainty = float(answers[0].log().softmax(0)[0])
    found = Calibration(low=0.5, high=certainty, softening=0.5)(answers.log(), torch.tensor([1, 1]))
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    torch.testing.assert_close(Calibration(low=0.0, high=0.0)(ANSWERS.log(), CLASSES), ANSWERS)


def test_certainty_is_that_of_temperature_1_however_soft_the_labels_are() -> None:
    """At T = 20 all answers are nearly flat: measured there, not one would pass the lower threshold."""
    logits = 4 * ANSWERS.log()
    found = Calibration(low=0.5, high=0.9, softening=0.1)(logits, CLASSES, temperature=20.0)
    assert logits.softmax(1).max(1).values.tolist() == pytest.approx([0.993, 0.865, 0.360], abs=1e-3)
    torch.testing.assert_close(found[0], (logits[0] / 20).softmax(0))
    torch.testing.assert_close(found[1:], torch.tensor([[0.05, 0.05, 0.9], [0.0, 0.0, 0.0]]))


def test_a_dropped_region_has_no_gradient() -> None:
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = Calibration(low=0.4, high=0.6)(ANSWERS.log(), CLASSES)
    for loss in (
        F.cross_entropy(logits, targets),
        F.kl_div(F.log_softmax(logits, 1), targets, reduction="batchmean"),
    ):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.equal(gradient[2], torch.zeros(3))
        assert bool((gradient[:2] != 0).all())


@pytest.mark.parametrize("fields", [{"low": 0.7}, {"high": 1.2}, {"softening": 1.0}, {"low": -0.1}])
def test_thresholds_that_do_not_ascend_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="0 <= low <= high <= 1"):
        Calibration(**fields)
