"""Blocks of classes as jobs; Adam with its cosine; the range of pixels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from condense import networks, teachers
from condense.data import Split
from condense.method import Cost
from condense.networks import Network
from condense.preprocessing import Preprocessing, identity, normalise
from condense.recovery import (
    Block,
    Descent,
    Objective,
    Observed,
    Synthesis,
    Views,
    class_blocks,
    cost,
    descend,
    recover,
)
from condense.recovery.blocks import clip_, to_pixels
from condense.run import Job, Run
from condense.soft_labels import LabelRecipe, answering_cost

SHAPE, CLASSES = (3, 8, 8), 4
Build = Callable[..., Network]
SPACE = normalise((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def test_blocks_hold_consecutive_classes_once_each() -> None:
    assert class_blocks([2, 1, 2, 1, 2], 2) == [
        Block(0, (0, 1)),
        Block(0, (2, 3)),
        Block(0, (4,)),
        Block(1, (0, 2)),
        Block(1, (4,)),
    ]


def test_no_block_is_a_few_classes_that_are_left_over() -> None:
    """100 at a time of 101 are 51 and 50, not 100 and one image whose statistics would have to be the data set's."""
    assert [len(block.classes) for block in class_blocks([1] * 101, 100)] == [51, 50]
    assert [len(block.classes) for block in class_blocks([1] * 200, 100)] == [100, 100]


def test_the_rate_falls_as_half_a_cosine() -> None:
    descent = Descent(steps=8, lr=0.4)
    expected = [0.4 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert [descent.rate(step) for step in range(8)] == pytest.approx(expected)
    assert descent.rate(0) == 0.4
    assert descent.rate(4) == pytest.approx(0.2)


def test_descending_is_adam_on_the_views_written_out(tmp_path: Path, with_statistics: Build) -> None:
    """Two steps without crop: moments, bias correction, rates and clipping by hand."""
    objective = Objective([Observed(with_statistics("convnet-d1:width=3,norm=batch"))], [1.0], 0.1)
    views, descent = Views(steps=2, lowest=1.0, flip=False, roll_to=2), Descent(steps=2, lr=0.3)
    start = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(4)
    with Run(tmp_path / "run", seed=7) as run:
        found = descend(start, labels, objective, views, descent, SPACE, run)
        images, first, second = start.clone(), 0.0, 0.0
        low, high = (SPACE.forward(torch.full((1, *SHAPE), end, dtype=torch.float64)) for end in (0.0, 1.0))
        for step in range(2):
            down, right = torch.randint(0, 3, (2, 1), generator=run.rng("view", step))
            seen = images.roll((int(down), int(right)), (2, 3)).requires_grad_()
            (slope,) = torch.autograd.grad(objective(seen, labels).total, seen)
            slope = slope.roll((-int(down), -int(right)), (2, 3))
            first, second = 0.5 * first + 0.5 * slope, 0.9 * second + 0.1 * slope**2
            unbiased = (second / (1 - 0.9 ** (step + 1))).sqrt() + 1e-8
            images = images - descent.rate(step) * (first / (1 - 0.5 ** (step + 1))) / unbiased
            images = torch.minimum(torch.maximum(images, low), high)
    torch.testing.assert_close(found, images, rtol=1e-9, atol=1e-9)


def recovered(with_statistics: Build, folder: Path, counts: list[int], size: int = 2) -> tuple[Tensor, Tensor]:
    observed = Observed(with_statistics("convnet-d1:width=3,norm=batch").float())

    def prepare(job: Job) -> tuple[torch.Tensor, Objective]:
        images = torch.randn(len(job.item.classes), *SHAPE, generator=job.rng("initial"))
        return images, Objective([observed], [1.0], 0.1)

    with Run(folder, seed=0) as run:
        blocks = class_blocks(counts, size)
        return recover(blocks, prepare, Views(steps=3, roll_to=2), Descent(3, 0.1), SPACE, run)


def test_images_come_sorted_by_class_whatever_the_blocks(tmp_path: Path, with_statistics: Build) -> None:
    pixels, labels = recovered(with_statistics, tmp_path / "run", [2, 1, 3, 2])
    assert pixels.dtype == torch.uint8
    assert tuple(pixels.shape) == (8, *SHAPE)
    assert labels.tolist() == [0, 0, 1, 2, 2, 2, 3, 3]
    assert len({image.numpy().tobytes() for image in pixels}) == 8


def test_a_block_does_not_depend_on_the_images_of_later_numbers(tmp_path: Path, with_statistics: Build) -> None:
    few, _ = recovered(with_statistics, tmp_path / "few", [1, 1, 1, 1])
    many, labels = recovered(with_statistics, tmp_path / "many", [2, 2, 2, 2])
    assert torch.equal(few, many[torch.arange(0, 8, 2)])
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("space", [identity(), SPACE])
def test_clipping_is_that_of_pixels(space: Preprocessing) -> None:
    pixels = torch.linspace(-0.5, 1.5, 2 * 3 * 64, dtype=torch.float64).view(2, *SHAPE)
    images = space.forward(pixels)
    clip_(images, space)
    torch.testing.assert_close(space.inverse(images), pixels.clamp(0, 1), rtol=0, atol=1e-12)


def test_whitened_images_are_clipped_as_pixels() -> None:
    size = math.prod(SHAPE)
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrices = {"mean": torch.zeros(size, dtype=torch.float64), "whiten": matrix, "unwhiten": matrix.inverse()}
    space = Preprocessing("zca", epsilon=0.1, shape=SHAPE, matrices=matrices)
    pixels = torch.linspace(-0.5, 1.5, 2 * size, dtype=torch.float64).view(2, *SHAPE)
    images = space.forward(pixels)
    clip_(images, space)
    torch.testing.assert_close(space.inverse(images), pixels.clamp(0, 1), rtol=0, atol=1e-8)


def test_pixels_are_rounded_to_the_nearest() -> None:
    values = torch.tensor([-0.1, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.2]).view(1, 1, 1, 6)
    assert to_pixels(values, identity()).flatten().tolist() == [0, 0, 0, 1, 255, 255]


def test_the_cost_adds_training_recovery_and_labels() -> None:
    pixels = torch.randint(256, (20, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    train = Split.from_arrays(pixels, torch.arange(20) % CLASSES, [str(label) for label in range(CLASSES)])
    names = ["convnet-d1:width=3,norm=batch", "convnet-d2:width=2,norm=batch"]
    recipe = teachers.recipe("tiny-images", flips=True, epochs=5)
    built = [networks.build(name, SHAPE, CLASSES) for name in names]
    forward = sum(networks.operations(network, SHAPE) for network in built)
    together = "+".join(names)
    settings = Synthesis(10, 0.1, 0.01, 10.0, 1.0, False, 0, 0, "batch", None)
    asked = LabelRecipe("regions", together, training="tiny-images", training_epochs=5, epochs=3)
    labels = answering_cost(asked, train, 100)
    announced = cost(train, together, recipe, settings, 40, labels, share=0.5)
    squeeze = teachers.committee_cost(together, train, recipe)
    assert announced.operations == squeeze.operations + forward * (2 * 0.5 * 40 * 10 + 300)
    assert announced.disk_bytes == 300 * CLASSES * 2
    none = Cost(operations=0.0, memory_bytes=0.0)
    loaded = cost(train, f"{names[0]}@file.pt", recipe, settings, 40, none)
    assert loaded.operations == networks.operations(built[0], SHAPE) * 2 * 40 * 10
    maps, pixels = networks.activation_bytes(built[0], SHAPE), 2 * 40 * math.prod(SHAPE)
    # No more images are together than there are classes, or than a batch or a chunk has.
    assert loaded.memory_bytes == pixels + 2 * maps * CLASSES
    for fewer in ({"batch": 2}, {"chunk": 2}):
        small = cost(train, f"{names[0]}@file.pt", recipe, dataclasses.replace(settings, **fewer), 40, none)
        assert small.memory_bytes == pixels + 2 * maps * 2
