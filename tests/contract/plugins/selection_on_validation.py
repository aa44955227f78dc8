"""Conformance: one of several selections, chosen on held-out training images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from condense import preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.matching import random_indices
from condense.method import Cost, Method, Preset
from condense.run import Run

ABOUT = Method(
    title="selection_on_validation", paper="conformance", url="", family="conformance", kind="selection", selects=True
)


@dataclass(frozen=True)
class Config:
    candidates: int = 2
    candidate: int = 0  # the one that is taken


PRESETS = {"cpu": Preset(Config(), "as small as it gets")}


def choose(train: Split, budget: Budget, config: Config, run: Run) -> Config:
    candidates = run.jobs("candidates", list(range(config.candidates)))
    for job in candidates:
        kept = select(train, budget, job.item, run)
        job.save(accuracy=torch.tensor(run.validate(kept)))
    accuracy = torch.stack([result["accuracy"] for result in candidates.results()])
    return replace(config, candidate=int(accuracy.argmax()))


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    return select(train, budget, config.candidate, run)


def select(train: Split, budget: Budget, candidate: int, run: Run) -> DistilledSet:
    counts = budget.counts(train.class_counts(), train.classes)
    indices = random_indices(train, counts, run.rng("candidate", candidate))
    return DistilledSet.selection(indices, train, preprocessing.fit("identity", train))


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    return Cost(operations=1e3, memory_bytes=1e3)
