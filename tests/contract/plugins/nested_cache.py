"""Conformance: a cached value that is built from another cached value, both in loops."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from condense import preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.matching import initial_images
from condense.method import Cost, Method, Preset
from condense.run import Run

ABOUT = Method(title="nested_cache", paper="conformance", url="", family="conformance", kind="synthetic")


@dataclass(frozen=True)
class Config:
    steps: int = 2  # of each builder


PRESETS = {"cpu": Preset(Config(), "as small as it gets")}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    space = preprocessing.fit("identity", train)
    images, labels = initial_images(train, budget, space, run.rng("initial"), "noise")
    key = {"kind": "conformance", "data": train.fingerprint, "steps": config.steps}

    def features(sub: Run) -> dict[str, torch.Tensor]:
        return {"weight": drift(sub, config.steps, torch.zeros(images[0].shape))}

    def teacher(sub: Run) -> dict[str, torch.Tensor]:
        start = sub.cached({**key, "part": "features"}, features)["weight"]
        return {"weight": drift(sub, config.steps, start)}

    weight = run.cached({**key, "part": "teacher"}, teacher)["weight"]
    return DistilledSet.synthetic(images + weight, labels, train, space)


def drift(run: Run, steps: int, start: torch.Tensor) -> torch.Tensor:
    weight = start.clone()
    for step in run.loop("drift", steps, run.state(weight=weight)):
        weight += torch.randn(weight.shape, generator=run.rng("drift", step))
    return weight


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    return Cost(operations=1e3, memory_bytes=1e3)
