"""Random selection: the baseline that every method must beat.

Departures from the paper: none; there is no paper. Images are drawn uniformly without replacement within each class.
"""

from __future__ import annotations

from dataclasses import dataclass

from condense import preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.matching import random_indices
from condense.method import Cost, Method, Preset
from condense.run import Run

ABOUT = Method(
    title="Random",
    paper="Uniform choice within each class",
    url="",
    family="selection",
    kind="selection",
)


@dataclass(frozen=True)
class Config:
    preprocessing: str = "normalise"  # pixel space of training: normalise | zca | identity


PRESETS = {"cpu": Preset(Config(), "two cores, digits", distill_seconds=0.1, judge_seconds=3.0)}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Draws the budget's number of real images of every class."""
    counts = budget.counts(train.class_counts(), train.classes)
    indices = random_indices(train, counts, run.rng("choice"))
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    return DistilledSet.selection(indices, train, space)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """Nothing but a permutation."""
    return Cost(operations=0.0, memory_bytes=8.0 * len(train))
