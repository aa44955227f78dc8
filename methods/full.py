"""The whole training split: the ceiling that a distilled set is measured against.

Departures from the paper: none; there is no paper. The budget is ignored, every image is kept.
"""

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
    title="Full data",
    paper="The whole training split",
    url="",
    family="selection",
    kind="full",
    seeded=False,
)


@dataclass(frozen=True)
class Config:
    preprocessing: str = "normalise"  # pixel space of training: normalise | zca | identity


PRESETS = {"cpu": Preset(Config(), "two cores, digits", distill_seconds=0.1, judge_seconds=3.0)}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Keeps every training image, in the split's order."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    return DistilledSet.selection(torch.arange(len(train)), train, space)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """Nothing but a list of indices."""
    return Cost(operations=0.0, memory_bytes=8.0 * len(train))
