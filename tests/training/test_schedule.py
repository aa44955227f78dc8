from __future__ import annotations

import math

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from condense.training import Schedule

EPOCHS, STEPS = 8, 5


def multipliers(schedule: Schedule) -> list[float]:
    return [schedule.multiplier(epoch, step, STEPS, EPOCHS) for epoch in range(EPOCHS) for step in range(STEPS)]


def optimiser() -> SGD:
    return SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def test_one_cycle_is_that_of_pytorch() -> None:
    reference = optimiser()
    scheduler = OneCycleLR(reference, max_lr=1.0, total_steps=EPOCHS * STEPS, cycle_momentum=False)
    expected = []
    for _ in range(EPOCHS * STEPS):
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        scheduler.step()
    assert multipliers(Schedule("one-cycle")) == pytest.approx(expected, rel=1e-12)


def test_cosine_is_that_of_pytorch() -> None:
    reference = optimiser()
    scheduler = CosineAnnealingLR(reference, T_max=EPOCHS)
    expected = []
    for _ in range(EPOCHS):
        expected += [reference.param_groups[0]["lr"]] * STEPS
        reference.step()
        scheduler.step()
    assert multipliers(Schedule("cosine")) == pytest.approx(expected, rel=1e-12)


def test_cosine_by_step_stretch_and_floor_follow_the_formula() -> None:
    found = multipliers(Schedule("cosine", per="step", stretch=2.0, floor=0.2))
    expected = [0.2 + 0.8 * (1 + math.cos(math.pi * t / (2 * EPOCHS * STEPS))) / 2 for t in range(EPOCHS * STEPS)]
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_short_cosine_stays_at_its_floor() -> None:
    assert multipliers(Schedule("cosine", stretch=0.5))[-STEPS:] == [0.0] * STEPS


def test_a_warm_up_is_linear_and_comes_first() -> None:
    found = multipliers(Schedule("cosine", warmup=2))
    assert found[: 2 * STEPS] == pytest.approx([(t + 1) / (2 * STEPS) for t in range(2 * STEPS)])
    assert found[2 * STEPS] == 1.0
    assert multipliers(Schedule(warmup=2))[2 * STEPS :] == [1.0] * (6 * STEPS)
