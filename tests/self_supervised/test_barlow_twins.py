"""Barlow Twins: the loss against its formula, the training against an interruption."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from condense import networks
from condense.data import Split
from condense.errors import BadInput
from condense.preprocessing import normalise
from condense.run import Run
from condense.self_supervised import BarlowTwins, barlow_twins, barlow_twins_loss, cross_correlation, pretrain

SPACE = normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def projections() -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    first = torch.randn(7, 4, generator=draws, dtype=torch.float64)
    return first, first + torch.randn(7, 4, generator=draws, dtype=torch.float64)


def test_the_loss_is_the_sum_over_all_pairs_of_coordinates() -> None:
    first, second = projections()
    expected = 0.0
    for i in range(4):
        for j in range(4):
            a = (first[:, i] - first[:, i].mean()) / (first[:, i].var(correction=0) + 1e-5).sqrt()
            b = (second[:, j] - second[:, j].mean()) / (second[:, j].var(correction=0) + 1e-5).sqrt()
            correlation = float((a * b).sum()) / 7
            expected += (1 - correlation) ** 2 if i == j else 0.3 * correlation**2
    assert float(barlow_twins_loss(first, second, 0.3)) == pytest.approx(expected, rel=1e-12)


def test_equal_views_with_uncorrelated_coordinates_have_no_loss() -> None:
    walsh = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    assert float(barlow_twins_loss(walsh, walsh, 1.0)) == pytest.approx(0.0, abs=1e-9)


def test_scale_and_offset_of_a_coordinate_do_not_count() -> None:
    first, second = projections()
    # The epsilon beside the variance leaves a difference of its size.
    torch.testing.assert_close(
        cross_correlation(3.0 * first - 1.0, second + 5.0), cross_correlation(first, second), atol=1e-4, rtol=0
    )


def test_the_gradient_of_the_loss_is_right() -> None:
    views = tuple(view.requires_grad_() for view in projections())
    assert torch.autograd.gradcheck(lambda first, second: barlow_twins_loss(first, second, 5e-3), views)


def test_training_lowers_the_loss_and_needs_no_labels(split: Split, run: Run, tiny: BarlowTwins) -> None:
    recipe = dataclasses.replace(tiny, epochs=30, lr=0.01)
    pretrain(split.unlabelled(), SPACE, recipe, run)
    losses = [line["loss"] for line in run.curves()]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_the_classifier_is_left_alone(split: Split, run: Run, tiny: BarlowTwins) -> None:
    network = pretrain(split, SPACE, tiny, run)
    again = networks.build(tiny.network, split.shape, 1, run.rng("network"))
    assert torch.equal(network.classifier.weight, again.classifier.weight)
    assert not torch.equal(network.blocks[0].conv.weight, again.blocks[0].conv.weight)


def test_an_interrupted_training_ends_in_the_same_bits(
    split: Split, tiny: BarlowTwins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(folder: str) -> dict[str, Tensor]:
        with Run(tmp_path / folder, seed=1, checkpoint_seconds=0.0) as run:
            return pretrain(split, SPACE, tiny, run).state_dict()

    unbroken = train("unbroken")
    calls = iter(range(100))

    def breaks(*arguments: object) -> Tensor:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return barlow_twins_loss(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(barlow_twins, "barlow_twins_loss", breaks)
        train("broken")
    resumed = train("broken")
    assert all(torch.equal(resumed[name], value) for name, value in unbroken.items())


@pytest.mark.parametrize(
    ("changes", "told"), [({"batch": 1}, "at least 2"), ({"epochs": 0}, "epochs"), ({"precision": "half"}, "bfloat16")]
)
def test_a_recipe_that_cannot_train_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        BarlowTwins(**changes)  # type: ignore[arg-type]


def test_one_image_is_refused(split: Split, run: Run, tiny: BarlowTwins) -> None:
    with pytest.raises(BadInput, match="1 image"):
        pretrain(split.subset([0]), SPACE, tiny, run)
