"""CutMix and MixUp: images, targets, and the distribution of their weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from condense.augment import CutMix, Mix, MixUp, mix_targets
from condense.errors import BadInput

Images = Callable[..., Tensor]


def test_mixup_is_a_weighted_sum_of_images_and_of_targets(images: Images) -> None:
    batch, mix = images(3, 1, 2, 2), Mix(torch.tensor([1, 2, 0]), 0.75)
    torch.testing.assert_close(MixUp().apply(batch, mix), 0.75 * batch + 0.25 * batch[[1, 2, 0]])
    expected = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.75, 0.25], [0.25, 0.0, 0.75]])
    assert torch.equal(mix_targets(torch.eye(3), mix), expected)
    assert torch.equal(mix_targets(torch.arange(3), mix, classes=3), expected)


def test_weights_may_differ_between_images(images: Images) -> None:
    batch, mix = images(2, 1, 2, 2), Mix(torch.tensor([1, 0]), torch.tensor([1.0, 0.5]))
    out = MixUp().apply(batch, mix)
    assert torch.equal(out[0], batch[0])
    torch.testing.assert_close(out[1], batch.mean(0))
    assert torch.equal(mix_targets(torch.eye(2), mix), torch.tensor([[1.0, 0.0], [0.5, 0.5]]))


def test_cutmix_pastes_the_box_of_the_partner_and_nothing_else(images: Images) -> None:
    batch, mix = images(2, 3, 5, 6), Mix(torch.tensor([1, 0]), 0.8, torch.tensor([1, 2, 3, 2]))
    out = CutMix().apply(batch, mix)
    expected = batch.clone()
    expected[:, :, 1:4, 2:4] = batch[[1, 0]][:, :, 1:4, 2:4]
    assert torch.equal(out, expected)


def test_the_weight_of_cutmix_is_the_part_of_the_image_that_stays(generator: torch.Generator) -> None:
    marked = torch.stack([torch.zeros(1, 8, 12), torch.ones(1, 8, 12)])
    for _ in range(50):
        mix = CutMix().draw(2, (1, 8, 12), generator)
        mix = Mix(torch.tensor([1, 0]), mix.weight, mix.box)
        assert CutMix().apply(marked, mix)[1].mean().item() == pytest.approx(mix.weight)


@pytest.mark.parametrize("mixing", [CutMix(), MixUp()])
def test_mixing_is_differentiable_in_the_images(
    images: Images, generator: torch.Generator, mixing: CutMix | MixUp
) -> None:
    mix = mixing.draw(3, (2, 4, 4), generator)
    assert torch.autograd.gradcheck(lambda x: mixing.apply(x, mix), (images(3, 2, 4, 4).requires_grad_(),))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_weights_come_from_the_beta_distribution(generator: torch.Generator, alpha: float) -> None:
    weights = torch.tensor([MixUp(alpha=alpha).draw(2, (1, 4, 4), generator).weight for _ in range(2000)])
    variance = 1 / (4 * (2 * alpha + 1))
    # Five standard errors of the mean; the variance of 2000 bounded numbers is within a tenth of its value.
    assert weights.mean().item() == pytest.approx(0.5, abs=5 * math.sqrt(variance / 2000))
    assert weights.var().item() == pytest.approx(variance, rel=0.1)


def test_with_probability_zero_a_batch_stays_as_it_is(images: Images, generator: torch.Generator) -> None:
    batch, targets = images(4, 3, 4, 4), torch.eye(4)
    for mixing in (CutMix(probability=0.0), MixUp(probability=0.0)):
        mix = mixing.draw(4, (3, 4, 4), generator)
        assert torch.equal(mixing.apply(batch, mix), batch)
        assert torch.equal(mix_targets(targets, mix), targets)


def test_half_of_the_batches_are_mixed_at_probability_one_half(generator: torch.Generator) -> None:
    mixed = sum(MixUp(probability=0.5).draw(2, (1, 4, 4), generator).weight != 1.0 for _ in range(400))
    assert 150 < mixed < 250  # 200, five standard deviations of 10


@pytest.mark.parametrize("mixing", [CutMix(probability=0.5), MixUp(probability=0.5)])
def test_draws_depend_on_the_generator_alone_and_leave_the_global_state(mixing: CutMix | MixUp) -> None:
    draws = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        draws.append(mixing.draw(5, (3, 8, 8), torch.Generator().manual_seed(4)))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(draws[0].partner, draws[1].partner)
    assert draws[0].weight == draws[1].weight


def test_targets_stay_distributions(images: Images, generator: torch.Generator) -> None:
    soft = images(6, 5).softmax(1)
    mixed = mix_targets(soft, CutMix().draw(6, (3, 8, 8), generator))
    torch.testing.assert_close(mixed.sum(1), torch.ones(6, dtype=torch.float64))


def test_wrong_sizes_and_settings_are_refused(images: Images, generator: torch.Generator) -> None:
    mix = MixUp().draw(4, (3, 4, 4), generator)
    with pytest.raises(BadInput, match="the mix is for a batch of 4, got 3; draw it with that count"):
        MixUp().apply(images(3, 3, 4, 4), mix)
    with pytest.raises(BadInput, match="with the number of classes"):
        mix_targets(torch.arange(4), mix)
    with pytest.raises(BadInput, match="alpha must be a positive number, got 0"):
        CutMix(alpha=0)
    with pytest.raises(BadInput, match=r"probability must lie in \[0, 1\], got 2"):
        MixUp(probability=2)
