"""The batch of a step: a pure function of (source, recipe, rng, epoch, step), the same for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from condense import augment
from condense.distilled.labels import Answering, Dictating, LabelBatch, Labels, Softened
from condense.errors import BadInput
from condense.sending import send
from condense.training.losses import as_target
from condense.training.recipe import Recipe
from condense.training.replay import replay_mix, replay_view
from condense.training.sources import Rng, Source


@dataclass(frozen=True)
class Batch:
    """What a network sees in one step."""

    images: Tensor  # (N, C, H, W), augmented
    target: Tensor  # (N,) int64, or (N, K) floats
    norm_group: Tensor | None  # (N,) on the CPU: samples with equal numbers share batch statistics; None: all do


class Batches:
    """Draws and prepares batches.

    The order of an epoch comes from rng("order", epoch), augmentation from rng("augment", epoch, step), mixing from
    rng("mix", epoch, step). Labels that were made for certain indices, crops, flips or mixes win over these draws.

    Raises:
        BadInput: for an empty source, or labels that the recipe's loss cannot use.
    """

    def __init__(self, source: Source, recipe: Recipe, rng: Rng, device: torch.device):
        if len(source) == 0:
            raise BadInput("cannot train on an empty set; give at least one image")
        self._source = source
        self._labels = source.labels.to(device)
        self._recipe = recipe
        self._rng = rng
        self._device = device
        self._augment = augment.from_spec(recipe.augment) if recipe.augment else None
        self._mix = augment.mixing_from_spec(recipe.mix) if recipe.mix else None
        self._order = (-1, torch.empty(0, dtype=torch.int64))  # of one epoch
        check_labels(source.labels, recipe)
        self.steps_per_epoch = steps_per_epoch(source, recipe)
        whole = recipe.epochs * self.steps_per_epoch
        self.steps = whole if recipe.updates is None else min(whole, recipe.updates)  # of the whole training

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        _, channels, height, width = self._source.gather(torch.zeros(1, dtype=torch.int64), self._device).shape
        return channels, height, width

    def __call__(self, epoch: int, step: int) -> Batch:
        """The batch of step `step` of epoch `epoch`, both counted from 0."""
        labels = self._labels.view(epoch, step, self._indices(epoch, step))
        images = self._source.gather(labels.indices, self._device)
        if self._recipe.precision == "float64":
            images = images.double()
        if labels.crop is not None or labels.flip is not None:
            images = replay_view(images, labels.crop, labels.flip)
        elif self._augment is not None:
            images = self._augment(images, self._rng("augment", epoch, step))
        mix = None
        if labels.mix is not None:
            images = replay_mix(images, labels.mix)
        elif self._mix is not None:
            mix = self._mix.draw(len(images), images.shape[1:], self._rng("mix", epoch, step))
            images = self._mix.apply(images, mix)
        return Batch(images, self._target(labels, images, mix), labels.norm_group)

    def _indices(self, epoch: int, step: int) -> Tensor:
        if self._order[0] != epoch:
            order = torch.randperm(len(self._source), generator=self._rng("order", epoch))
            self._order = (epoch, send(order, self._device))
        return self._order[1][step * self._recipe.batch : (step + 1) * self._recipe.batch]

    def _target(self, labels: LabelBatch, images: Tensor, mix: augment.Mix | None) -> Tensor:
        if labels.form == "teacher":  # answers for the images as they are now, mixed or not
            asked = cast(Answering, self._labels)
            form = "logits" if asked.softened_at is None else "probabilities"
            return as_target(asked.answers_for(images), form, self._recipe.loss)
        assert labels.target is not None
        of_logits = self._mix is not None and self._mix.of_logits
        if mix is not None and of_logits and labels.form == "logits":
            return as_target(augment.mix_targets(labels.target, mix), labels.form, self._recipe.loss)
        target = as_target(labels.target, labels.form, self._recipe.loss)
        return target if mix is None else augment.mix_targets(target, mix, self._source.n_classes)


def steps_per_epoch(source: Source, recipe: Recipe) -> int:
    """Optimiser steps of one pass over a source: the recipe's, unless the labels dictate them."""
    labels = source.labels
    return labels.steps(0) if isinstance(labels, Dictating) else recipe.steps_per_epoch(len(source))


def check_labels(labels: Labels, recipe: Recipe) -> None:
    """Whether a recipe can train on labels of their kind.

    Raises:
        BadInput: for labels that were made for steps of another size than the recipe's, or at another temperature.
    """
    if isinstance(labels, Dictating) and labels.batch != recipe.batch:
        raise BadInput(
            f"the labels were made for steps of {labels.batch} samples, the recipe has {recipe.batch}; use a protocol "
            "with that batch, or label the set again for this one"
        )
    softened = labels.softened_at if isinstance(labels, Answering) else None
    if isinstance(labels, Softened) and labels.form == "probabilities":
        softened = labels.temperature
    # A cross-entropy at temperature 1 takes probabilities as they are; at another one it softens the student alone.
    loss = recipe.loss
    compares = loss.kind == "kl" or (loss.kind == "cross-entropy" and loss.temperature != 1)
    if softened is not None and compares and softened != loss.temperature:
        raise BadInput(
            f"the labels are probabilities at temperature {softened:g}, the recipe compares at "
            f"{recipe.loss.temperature:g}; use a protocol with that temperature, or label the set again for this one"
        )
