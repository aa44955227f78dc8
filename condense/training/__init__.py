"""The one home of "train a network on a set": used by the judge, by teachers, by features and by validation."""

from __future__ import annotations

from condense.training.batches import check_labels
from condense.training.descent import OnStep, train, train_seeds
from condense.training.engines import Engine, choose
from condense.training.evaluation import accuracy, predict
from condense.training.recipe import Loss, Recipe
from condense.training.schedule import Schedule
from condense.training.sources import Resident, Rng, Source, SplitSource, on_device

__all__ = [
    "Engine",
    "Loss",
    "OnStep",
    "Recipe",
    "Resident",
    "Rng",
    "Schedule",
    "Source",
    "SplitSource",
    "accuracy",
    "check_labels",
    "choose",
    "on_device",
    "predict",
    "train",
    "train_seeds",
]
