"""Ingredients that the methods of trajectory matching share (MTT, TESLA, FTD, DATM, AST)."""

from __future__ import annotations

from condense.trajectories.descent import Descent
from condense.trajectories.initial import (
    Answer,
    Recognised,
    answers,
    averaged_logits,
    correctly_classified,
    logits_of,
    representative,
)
from condense.trajectories.recipes import flat_recipe, matching_cost
from condense.trajectories.sampling import Window, expert_in_turn, halved, minibatches, perturbed
from condense.trajectories.student import Student, student_of

__all__ = [
    "Answer",
    "Descent",
    "Recognised",
    "Student",
    "Window",
    "answers",
    "averaged_logits",
    "correctly_classified",
    "expert_in_turn",
    "flat_recipe",
    "halved",
    "logits_of",
    "matching_cost",
    "minibatches",
    "perturbed",
    "representative",
    "student_of",
]
