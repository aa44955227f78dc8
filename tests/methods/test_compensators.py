"""INFER's compensators beside the published loop, written out with forward hooks and Adam by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense import methods, networks, preprocessing, teachers
from condense.budget import Budget
from condense.data import Split
from condense.distilled.compensated import unpacked
from condense.recovery import Descent, Objective, Observed, Views
from condense.run import Job, Run

infer = methods.get("infer").module
SHAPE, CLASSES = (3, 8, 8), 4
STEPS, LR, WEIGHT, FIRST = 3, 0.25, 0.3, 10.0
Roll = Callable[[int], tuple[int, int]]  # of a step: pixels down and to the right


def by_hand(network: nn.Module, images: Tensor, roll: Roll = lambda step: (0, 0)) -> Tensor:
    """u (1, C, H, W) after `STEPS` steps from 0.  images: (K, C, H, W), one of each class."""
    gaps: list[Tensor] = []

    def hook(layer: Any, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        channels = inputs[0].transpose(0, 1).flatten(1)  # (C, N*h*w)
        mean, variance = channels.mean(1), channels.var(1, unbiased=False)
        gaps.append((layer.running_mean - mean).norm() + (layer.running_var - variance).norm())

    network = copy.deepcopy(network).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(hook)
    shift, first, second = torch.zeros_like(images[:1]), torch.zeros(()), torch.zeros(())
    for step in range(STEPS):
        gaps.clear()
        leaf = shift.clone().requires_grad_()
        entropy = F.cross_entropy(network((images + leaf).roll(roll(step), (2, 3))), torch.arange(len(images)))
        (slope,) = torch.autograd.grad(entropy + WEIGHT * (FIRST * gaps[0] + sum(gaps[1:])), leaf)
        first, second = 0.5 * first + 0.5 * slope, 0.9 * second + 0.1 * slope**2
        unbiased = (second / (1 - 0.9 ** (step + 1))).sqrt() + 1e-8
        rate = LR * (1 + math.cos(math.pi * step / STEPS)) / 2
        shift = shift - rate * (first / (1 - 0.5 ** (step + 1))) / unbiased
    return shift


def test_a_compensator_is_that_of_the_published_loop(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    network = networks.build("convnet-d2:width=4,norm=batch", SHAPE, CLASSES, generator).double()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-1, 1, generator=generator)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 2, generator=generator)  # type: ignore[union-attr]
    images = torch.randn(CLASSES, *SHAPE, generator=generator, dtype=torch.float64)
    objective = Objective([Observed(network)], [1.0], WEIGHT, FIRST)
    views = Views(STEPS, lowest=1.0, flip=False, roll_to=2)
    drawn: list[tuple[int, int]] = []
    with Run(tmp_path / "run", seed=7) as run:
        job: Job
        for job in run.jobs("compensate", [(0, 0)]):
            found = infer.compensator(images, objective, views, Descent(STEPS, LR), job)
            for step in range(STEPS):
                down, right = torch.randint(0, 3, (2, 1), generator=job.run.rng("view", step))
                drawn.append((int(down), int(right)))
            job.save(compensator=found)
    assert len(set(drawn)) > 1
    torch.testing.assert_close(found, by_hand(network, images, drawn.__getitem__), rtol=1e-9, atol=1e-9)


def test_every_group_and_network_has_a_compensator_of_its_own(train: Split, tmp_path: Path) -> None:
    """That of the k-th images of all classes by the m-th network is number m K + k."""
    config = infer.Config(
        teachers="convnet-d1:norm=batch,width=4+convnet-d2:norm=batch,width=4",
        teacher_recipe="tiny-images",
        teacher_epochs=2,
        steps=STEPS,
        lr=LR,
        statistics_weight=WEIGHT,
        first_multiplier=FIRST,
        roll_to=0,
    )
    with Run(tmp_path / "run", seed=0, cache_dir=tmp_path / "cache") as run:
        made = infer.distill(train, Budget(ipc=4), config, run)
        space = preprocessing.fit("normalise", train)
        committee = teachers.committee(config.teachers, train, space, infer._training(train, config), run)
    groups = made.expansion["groups"]
    images = space.forward(made.images).unflatten(0, (3, groups))  # (class, group, C, H, W)
    expected = torch.cat([by_hand(each.module(), images[:, k]) for each in committee for k in range(groups)])
    kept = unpacked(made.extras)
    assert groups == 2
    assert len(kept) == len(expected) == 4
    # float32, of which Adam's first step keeps the sign alone, and a byte a value: near, and nearer than to any other.
    gaps = torch.cdist(kept.flatten(1), expected.flatten(1))
    assert gaps.argmin(1).tolist() == [0, 1, 2, 3]
    assert float(gaps.diagonal().max()) < 0.25 * float(expected.flatten(1).norm(dim=1).min())
