"""The images that a recovery starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from condense.data import Split
from condense.errors import BadInput
from condense.networks import Network
from condense.preprocessing import normalise
from condense.recovery import class_blocks, starting, starting_images
from condense.recovery.starting import Starting
from condense.run import Run
from condense.teachers import Teacher

SHAPE, CLASSES, COUNTS = (3, 8, 8), 4, [2, 3, 1, 2]
SPACE = normalise((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


@pytest.fixture
def train() -> Split:
    pixels = torch.randint(256, (40, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Split.from_arrays(pixels, torch.arange(40) % CLASSES, ["a", "b", "c", "d"])


@pytest.fixture
def teacher(with_statistics: Callable[..., Network]) -> Teacher:
    name = "convnet-d1:width=3,norm=batch"
    state = with_statistics(name).float().state_dict()
    return Teacher(name, name, state, SPACE, SHAPE, CLASSES, accuracy=0.5, trained_on="nothing", accuracy_on="nothing")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run(tmp_path / "run", seed=3, cache_dir=tmp_path / "cache") as opened:
        yield opened


def started(kind: Starting, train: Split, teacher: Teacher, run: Run) -> dict[tuple[int, int], Tensor]:
    """(class, number) -> the image that its job starts from."""
    first = starting_images(kind, train, COUNTS, SPACE, teacher, run)
    found = {}
    jobs = run.jobs("recover", class_blocks(COUNTS, 3))
    for job in jobs:
        images = first(job)
        found |= {(label, job.item.number): image for label, image in zip(job.item.classes, images, strict=True)}
        job.save(done=torch.zeros(1))
    return found


def rows_of(images: dict[tuple[int, int], Tensor], train: Split) -> dict[tuple[int, int], int]:
    """Which real image each one is."""
    real = SPACE.forward(train.take(torch.arange(len(train))))
    return {place: int((real == image).flatten(1).all(1).nonzero()) for place, image in images.items()}


@pytest.mark.parametrize("kind", ["real", "medium"])
def test_real_images_are_of_their_class_and_no_image_is_taken_twice(
    kind: Starting, train: Split, teacher: Teacher, run: Run
) -> None:
    rows = rows_of(started(kind, train, teacher, run), train)
    assert sorted(rows) == [(label, number) for label, count in enumerate(COUNTS) for number in range(count)]
    assert all(train.labels[row] == label for (label, _), row in rows.items())
    assert len(set(rows.values())) == sum(COUNTS)


def test_medium_images_have_the_losses_nearest_to_the_median(train: Split, teacher: Teacher, run: Run) -> None:
    rows = rows_of(started("medium", train, teacher, run), train)
    logits = teacher.module()(SPACE.forward(train.take(torch.arange(40))))
    losses = F.cross_entropy(logits, train.labels, reduction="none")
    for label, count in enumerate(COUNTS):
        own = losses[train.of_class(label)]  # ten, all of which are candidates
        gaps = (own - own.median()).abs().sort().values[:count]
        found = torch.stack([losses[rows[label, number]] for number in range(count)])
        torch.testing.assert_close((found - own.median()).abs(), gaps, rtol=0, atol=1e-6)


def test_medium_images_are_looked_for_once(train: Split, teacher: Teacher, run: Run) -> None:
    first = started("medium", train, teacher, run)
    with mock.patch.object(starting, "_losses", side_effect=AssertionError):
        again = starting_images("medium", train, COUNTS, SPACE, teacher, run)
    assert callable(again)
    assert first


def test_candidates_are_those_of_the_seed_whoever_the_teacher_is(
    train: Split, teacher: Teacher, tmp_path: Path
) -> None:
    other = dataclasses.replace(teacher, state={name: value + 0.1 for name, value in teacher.state.items()})
    asked: list[list[list[int]]] = []

    def note(module: object, teacher: Teacher, train: Split, rows: Tensor) -> Tensor:
        asked[-1].append(rows.tolist())
        return torch.arange(float(len(rows)))

    with mock.patch.object(starting, "_losses", note), mock.patch.object(starting, "_CANDIDATES", 4):
        for seed, wise in ((3, teacher), (3, other), (4, teacher)):
            asked.append([])
            with Run(tmp_path / f"run {len(asked)}", seed=seed, cache_dir=tmp_path / "cache") as opened:
                starting.medium_indices(train, COUNTS, SPACE, wise, opened)
    assert asked[0] == asked[1]
    assert asked[0] != asked[2]


def test_noise_is_standard_normal_and_of_the_job_alone(train: Split, teacher: Teacher, run: Run) -> None:
    images = torch.stack(list(started("noise", train, teacher, run).values()))
    assert abs(float(images.mean())) < 5 / images.numel() ** 0.5
    assert abs(float(images.std()) - 1) < 5 / (2 * images.numel()) ** 0.5
    assert len({image.numpy().tobytes() for image in images}) == sum(COUNTS)


def test_another_start_is_refused(train: Split, teacher: Teacher, run: Run) -> None:
    with pytest.raises(BadInput, match="initial must be one of noise, real, medium, got 'patches'"):
        starting_images("patches", train, COUNTS, SPACE, teacher, run)  # type: ignore[arg-type]
