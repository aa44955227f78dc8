"""Real images of a step with the teacher's features of exactly the views that are taken of them."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch
from torch import Tensor

from condense import kernels
from condense.augment import CropFlip
from condense.data import Split
from condense.matching import random_rows
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.self_supervised.features import teacher_features, teacher_views
from condense.self_supervised.teacher import Teacher
from condense.sending import beside, send
from condense.training.sources import RESIDENT_BYTES


class BatchSettings(Protocol):
    """What a method's configuration says of its real batches."""

    @property
    def real_batch(self) -> int: ...  # images of a step
    @property
    def augment(self) -> bool: ...  # crop and flip
    @property
    def padding(self) -> int: ...  # pixels by which a crop can be off
    @property
    def cached_views(self) -> int: ...  # fixed views whose features are kept; 0: a fresh view, and the teacher's pass
    @property
    def chunk(self) -> int: ...  # images in a pass of the teacher


class TeacherBatches:
    """Real images of a step, augmented on their pixels, with the teacher's features of exactly these views."""

    def __init__(self, train: Split, space: Preprocessing, teacher: Teacher, settings: BatchSettings, run: Run):
        self._train, self._space, self._teacher, self._settings, self._run = train, space, teacher, settings, run
        augment = CropFlip(settings.padding)
        self._augment = augment if train.flips else augment.without_flip()
        self._whole = None if settings.augment else _near(teacher_features(train, teacher, run), 1, run)
        count = settings.cached_views if settings.augment else 0
        views = teacher_views(train, teacher, self._augment, count, run)
        self._views = [dataclasses.replace(view, features=_near(view.features, count, run)) for view in views]

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) in the space of the set, and (n, d), on the run's device."""
        run, device = self._run, self._run.device
        rows = random_rows(len(self._train), self._settings.real_batch, run.rng("real", step))
        pixels = self._train.take(rows).to(device).float() / 255
        if self._whole is not None:
            answers = self._whole[beside(rows, self._whole.device)]
        elif self._views:
            view = self._views[int(torch.randint(len(self._views), (), generator=run.rng("view", step)))]
            pixels = self._augment.apply(pixels, view.draw.take(rows))
            answers = view.features[beside(rows, view.features.device)]
        else:
            pixels = self._augment(pixels, run.rng("augment", step))
            watched = self._teacher.space.forward(pixels)
            answers = kernels.frozen_features(self._teacher.embed, watched, self._settings.chunk)
        return self._space.forward(pixels), send(answers, device)


def _near(features: Tensor, views: int, run: Run) -> Tensor:
    """On the run's device where those of so many views fit there, so that a step sends its rows' numbers alone."""
    return features.to(run.device) if views * features.nbytes <= RESIDENT_BYTES else features
