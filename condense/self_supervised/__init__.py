"""Self-supervised teachers: networks trained on images without labels, and their features of a split.

    teacher = teacher_for(train, config, run)            # config.teacher, .teacher_network, .teacher_epochs, ...
    targets = teacher_features(train, teacher, run)      # (N, D) float32, cached
    views = teacher_views(train, teacher, CropFlip(), 8, run)   # cached features of augmented views

No function but the gate asks a split for labels, so that a method with `uses_labels=False` can call all of them.
"""

from __future__ import annotations

from condense.self_supervised.barlow_twins import BarlowTwins, barlow_twins_loss, cross_correlation, pretrain
from condense.self_supervised.batches import BatchSettings, TeacherBatches
from condense.self_supervised.content import images_digest
from condense.self_supervised.features import CachedView, random_images, teacher_features, teacher_views
from condense.self_supervised.gate import Gate, linear_probe_gate
from condense.self_supervised.teacher import Settings, Teacher, teacher_cost, teacher_for, trained
from condense.self_supervised.views import Views

__all__ = [
    "BarlowTwins",
    "BatchSettings",
    "CachedView",
    "Gate",
    "Settings",
    "Teacher",
    "TeacherBatches",
    "Views",
    "barlow_twins_loss",
    "cross_correlation",
    "images_digest",
    "linear_probe_gate",
    "pretrain",
    "random_images",
    "teacher_cost",
    "teacher_features",
    "teacher_for",
    "teacher_views",
    "trained",
]
