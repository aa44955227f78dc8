"""Labels answer for a batch; a kind is a class and one entry in the registry."""

from __future__ import annotations

from condense.distilled.labels.base import LabelBatch, Labels, register, restore
from condense.distilled.labels.replayed import ReplayedLabels
from condense.distilled.labels.stored import HardLabels, Representations, SoftLabels
from condense.distilled.labels.teacher import TeacherLabels

__all__ = [
    "HardLabels",
    "LabelBatch",
    "Labels",
    "ReplayedLabels",
    "Representations",
    "SoftLabels",
    "TeacherLabels",
    "register",
    "restore",
]
