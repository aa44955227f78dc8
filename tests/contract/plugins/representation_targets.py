"""Conformance: every image has a vector as its target."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from condense import preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet, Representations
from condense.method import Cost, Method, Preset
from condense.run import Run

ABOUT = Method(
    title="representation_targets",
    paper="conformance",
    url="",
    family="conformance",
    kind="synthetic",
    uses_labels=False,
)


@dataclass(frozen=True)
class Config:
    steps: int = 3  # steps of each phase


PRESETS = {"cpu": Preset(Config(), "as small as it gets")}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    space = preprocessing.fit("identity", train)
    rows = torch.randperm(len(train), generator=run.rng("initial"))[: (budget.ipc or 1) * train.n_classes]
    images = space.forward(train.take(rows))
    targets = torch.zeros(len(images), 5)
    for step in run.loop("project", config.steps, run.state(targets=targets)):
        projection = torch.randn(images[0].numel(), 5, generator=run.rng("projection", step))
        targets += images.flatten(1) @ projection
    return DistilledSet.synthetic(images, Representations(targets), train, space)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    return Cost(operations=1e3, memory_bytes=1e3)
