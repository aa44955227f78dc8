"""The linear-probe gate: passed by what learned something, not by random weights."""

from __future__ import annotations

import math

import torch

from condense import networks
from condense.data import Split
from condense.preprocessing import normalise
from condense.run import Run
from condense.self_supervised import BarlowTwins, Gate, Teacher, Views, linear_probe_gate, trained

NETWORK = "resnet10:norm=batch,width=2"


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


def test_random_weights_do_not_pass_the_gate(split: Split, tiny: BarlowTwins, run: Run) -> None:
    teacher = trained(split, tiny, run)
    untrained = networks.build(teacher.name, split.shape, 1, torch.Generator().manual_seed(5))
    random = Teacher(untrained, teacher.name, teacher.space, {"kind": "random"})
    gate = linear_probe_gate(split, random, run)
    assert not gate.passed, gate


def test_the_margin_is_ten_points() -> None:
    assert Gate(teacher=0.625, random=0.5).passed
    assert not Gate(teacher=0.59, random=0.5).passed


def test_the_gate_sees_no_row_that_it_was_fitted_on(run: Run) -> None:
    split = stripes(60)
    shuffled = Split.from_arrays(
        split.take(torch.arange(60)), torch.randperm(60, generator=torch.Generator().manual_seed(3)) % 6, split.classes
    )
    features = networks.build("mlp:width=64", split.shape, 1, torch.Generator().manual_seed(0))
    teacher = Teacher(features, "mlp:width=64", normalise(split.mean, split.std), {"kind": "wide"})
    # 64 features explain 54 rows of noise perfectly; on rows held back they guess.
    assert linear_probe_gate(shuffled, teacher, run).teacher < 0.7
