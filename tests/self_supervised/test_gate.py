"""The linear-probe gate: passed by what learned something, not by random weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from condense import networks, probing
from condense.data import Split
from condense.preprocessing import normalise
from condense.probing import ridge_probe, take_statistics
from condense.run import Run
from condense.self_supervised import BarlowTwins, Gate, Teacher, Views, linear_probe_gate, trained

NETWORK = "resnet10:norm=batch,width=2"
SPACE = normalise((0.5,), (0.2,))


def stripes(count: int = 400, classes: int = 6) -> Split:
    """Noisy stripes of `classes` directions at any phase: no pixel says the direction, so features must."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    angle, phase = labels * math.pi / classes, 2 * math.pi * torch.rand(count, generator=draws)
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    across = columns * angle.cos()[:, None, None] + rows * angle.sin()[:, None, None]  # (N, 8, 8)
    waves = (2 * math.pi * across / 5 + phase[:, None, None]).sin()
    images = 128 + 60 * waves + 30 * torch.randn(count, 8, 8, generator=draws)
    names = tuple(f"direction {label}" for label in range(classes))
    return Split.from_arrays(images.clamp(0, 255).to(torch.uint8)[:, None], labels, names, flips=False)


def test_barlow_twins_passes_the_gate(run: Run) -> None:
    recipe = BarlowTwins(
        network=NETWORK, epochs=14, batch=50, lr=3e-3, warmup=2, projector=32, views=Views(scale=(0.5, 1.0))
    )
    split = stripes()
    gate = linear_probe_gate(split, trained(split.unlabelled(), recipe, run), run)
    assert gate.passed, gate
    assert gate.random < 0.4  # six directions: the gate is not passed by a baseline that knows nothing


@pytest.mark.parametrize("seed", range(3))
def test_random_weights_do_not_pass_the_gate(seed: int, run: Run) -> None:
    split = stripes(1200)  # 120 of them held out: three standard errors of a difference are less than the margin
    untrained = networks.build(NETWORK, split.shape, 1, torch.Generator().manual_seed(seed))
    take_statistics(untrained, split, SPACE)
    random = Teacher(untrained, NETWORK, SPACE, {"kind": "random", "seed": seed})
    gate = linear_probe_gate(split, random, run)
    assert not gate.passed, gate


def test_the_margin_is_ten_points() -> None:
    assert Gate(teacher=0.625, random=0.5).passed
    assert not Gate(teacher=0.59, random=0.5).passed


def test_the_probe_is_scored_on_rows_that_it_was_not_fitted_on(run: Run) -> None:
    split = stripes(60)
    fitted: list[Tensor] = []
    scored: list[Tensor] = []

    def fit(features: Tensor, labels: Tensor, n_classes: int) -> probing.Probe:
        fitted.append(features)
        return ridge_probe(features, labels, n_classes)

    def score(self: probing.Probe, features: Tensor, labels: Tensor) -> float:
        scored.append(features)
        return 0.5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("condense.self_supervised.gate.ridge_probe", fit)
        patch.setattr(probing.Probe, "accuracy", score)
        network = networks.build("mlp:width=64", split.shape, 1, torch.Generator().manual_seed(0))
        linear_probe_gate(split, Teacher(network, "mlp:width=64", SPACE, {"kind": "wide"}), run)
    assert [(len(kept), len(held)) for kept, held in zip(fitted, scored, strict=True)] == [(54, 6)] * 2
    for kept, held in zip(fitted, scored, strict=True):
        assert not {tuple(row.tolist()) for row in kept} & {tuple(row.tolist()) for row in held}
