"""Distilled sets: the container, its labels and views, and how it is saved, shown and exchanged."""

from __future__ import annotations

from condense.distilled import compensated as _compensated  # noqa: F401  # makes its expansion known
from condense.distilled.container import Bytes, DistilledSet, Selection
from condense.distilled.labels import (
    HardLabels,
    LabelBatch,
    Labels,
    ReplayedLabels,
    Representations,
    SoftLabels,
    TeacherLabels,
)
from condense.distilled.storage import load, save, verify
from condense.distilled.views import Offers, TrainingView, View

__all__ = [
    "Bytes",
    "DistilledSet",
    "HardLabels",
    "LabelBatch",
    "Labels",
    "Offers",
    "ReplayedLabels",
    "Representations",
    "Selection",
    "SoftLabels",
    "TeacherLabels",
    "TrainingView",
    "View",
    "load",
    "save",
    "verify",
]
