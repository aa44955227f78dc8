"""Teachers: networks trained on the training split, or elsewhere, that images and labels are recovered from.

committee("resnet18:norm=batch + mobilenet-v2", train, space, recipe("sre2l-cifar", flips=True), run) -> [Teacher]
"""

from __future__ import annotations

from condense.teachers.committee import committee, committee_cost, members, teacher
from condense.teachers.pretrained import load_teacher
from condense.teachers.recipes import RECIPES, recipe
from condense.teachers.teacher import Teacher, provenance
from condense.teachers.trained import train_teacher, training_cost

__all__ = [
    "RECIPES",
    "Teacher",
    "committee",
    "committee_cost",
    "load_teacher",
    "members",
    "provenance",
    "recipe",
    "teacher",
    "train_teacher",
    "training_cost",
]
