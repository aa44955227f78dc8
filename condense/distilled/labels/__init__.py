"""Labels answer for a batch; a kind is a class and one entry in the registry."""

from __future__ import annotations

from condense.distilled.labels.base import (
    Answering,
    Dictating,
    LabelBatch,
    Labels,
    LabelSpec,
    Softened,
    Streamed,
    register,
    restore,
)
from condense.distilled.labels.committee import Committee, CommitteeLabels, Member, use_batch_statistics
from condense.distilled.labels.quantised import FULL, Codec, QuantisedLabels
from condense.distilled.labels.region_labels import RegionLabels
from condense.distilled.labels.regions import Regions
from condense.distilled.labels.replayed import ReplayedLabels
from condense.distilled.labels.stored import HardLabels, Representations, SoftForm, SoftLabels
from condense.distilled.labels.teacher import TeacherLabels

__all__ = [
    "FULL",
    "Answering",
    "Codec",
    "Committee",
    "CommitteeLabels",
    "Dictating",
    "HardLabels",
    "LabelBatch",
    "LabelSpec",
    "Labels",
    "Member",
    "QuantisedLabels",
    "RegionLabels",
    "Regions",
    "ReplayedLabels",
    "Representations",
    "SoftForm",
    "SoftLabels",
    "Softened",
    "Streamed",
    "TeacherLabels",
    "register",
    "restore",
    "use_batch_statistics",
]
