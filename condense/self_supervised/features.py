"""A teacher's features of a whole split, computed once, chunk by chunk, and shared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from condense.augment import Augmentation, Draw
from condense.budget import Budget
from condense.data import Split
from condense.matching import random_rows
from condense.run import Run
from condense.run.randomness import generator
from condense.self_supervised.content import images_digest
from condense.self_supervised.teacher import Teacher

_CHUNK = 4096  # images of one job: what an interruption may cost
_VERSION = 1  # of the views and what is done to them: raised when a change gives other features


@dataclass(frozen=True, eq=False)
class CachedView:
    """One augmented view of every image of a split, and the teacher's features of it.

    Pixels in [0, 1] are augmented before the teacher's preprocessing, so that a crop beyond the edge is black.
    """

    draw: Draw  # of N images; `draw.take(rows)` makes the same view of a batch
    features: Tensor  # (N, D), in the order of the split


def teacher_features(train: Split, teacher: Teacher, run: Run, *, batch: int = 512) -> Tensor:
    """Features (N, D) float32 on the CPU of every image of `train` as it is; labels are not used."""
    return _cached(train, teacher, None, None, {}, run, batch)


def teacher_views(
    train: Split, teacher: Teacher, augment: Augmentation, count: int, run: Run, *, batch: int = 512
) -> list[CachedView]:
    """Features of `count` augmented views of every image, so that a loop over batches needs no teacher.

    View v of image i is `augment.apply(pixels, view.draw.take(i))`, pixels in [0, 1]; a method that draws a view and a
    batch of rows sees the same pixels and has the features of exactly these.
    """
    views = []
    for number in range(count):
        draw = augment.draw(len(train), train.shape, generator("teacher view", number))
        key = {"augment": {**augment.spec(), "of": "pixels"}, "view": number}
        views.append(CachedView(draw, _cached(train, teacher, augment, draw, key, run, batch)))
    return views


def random_images(
    train: Split, budget: Budget, teacher: Teacher, run: Run, *, batch: int = 512
) -> tuple[Tensor, Tensor]:
    """Rows (M,) of random images, whatever their classes, and the teacher's features (M, D) of them on the CPU.

    What KRR-ST starts from, and what the baseline without learning consists of: with one seed the two have the same
    images, so that a difference between them is due to learning alone.
    """
    rows = random_rows(len(train), budget.images(len(train), train.n_classes), run.rng("initial"))
    parts = [teacher.embed(teacher.space.forward(train.take(part))).cpu() for part in rows.split(batch)]
    return rows, torch.cat(parts)


def _cached(
    train: Split,
    teacher: Teacher,
    augment: Augmentation | None,
    draw: Draw | None,
    more: dict[str, object],
    run: Run,
    batch: int,
) -> Tensor:
    key = {
        "kind": "teacher features",
        "images": images_digest(train),
        "teacher": dict(teacher.identity),
        "precision": teacher.precision,
        **more,
    }

    def build(sub: Run) -> dict[str, Tensor]:
        jobs = sub.jobs("embed", [rows.tolist() for rows in torch.arange(len(train)).split(_CHUNK)])
        for job in jobs:
            parts = []
            for rows in torch.tensor(job.item).split(batch):
                images = train.take(rows)
                if augment is not None and draw is not None:
                    images = augment.apply(images.float() / 255, draw.take(rows))
                parts.append(teacher.embed(teacher.space.forward(images)).cpu())
            job.save(features=torch.cat(parts))
        return {"features": torch.cat([result["features"] for result in jobs.results()])}

    features: Tensor = run.cached(key, build, _VERSION)["features"]
    return features
