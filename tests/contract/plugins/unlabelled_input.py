"""Conformance: images are made without a look at the labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from condense import preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.method import Cost, Method, Preset
from condense.run import Run

ABOUT = Method(
    title="unlabelled_input", paper="conformance", url="", family="conformance", kind="synthetic", uses_labels=False
)


@dataclass(frozen=True)
class Config:
    steps: int = 3  # steps of each phase


PRESETS = {"cpu": Preset(Config(), "as small as it gets")}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    space = preprocessing.fit("identity", train)
    count = (budget.ipc or 1) * train.n_classes
    images = torch.rand((count, *train.shape), generator=run.rng("initial"))
    labels = torch.arange(count) % train.n_classes
    for step in run.loop("match", config.steps, run.state(images=images)):
        rows = torch.randint(len(train), (count,), generator=run.rng("rows", step))
        images.lerp_(space.forward(train.take(rows)), 0.25)
    return DistilledSet.synthetic(images, labels, train, space)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    return Cost(operations=1e3, memory_bytes=1e3)
