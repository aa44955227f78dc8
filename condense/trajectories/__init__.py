"""Ingredients that the methods of trajectory matching share (MTT, TESLA, FTD, DATM, AST)."""

from __future__ import annotations

from condense.trajectories.descent import Descent, descent_of, require_momentum
from condense.trajectories.initial import (
    Answer,
    Recognised,
    answers,
    averaged_logits,
    chosen_once,
    correctly_classified,
    labelled_start,
    logits_of,
    representative,
)
from condense.trajectories.recipes import flat_recipe, matching_cost, trained
from condense.trajectories.sampling import Window, expert_in_turn, halved, minibatches, perturbed, segment_between
from condense.trajectories.settings import Settings
from condense.trajectories.student import Student, student_of

__all__ = [
    "Answer",
    "Descent",
    "Recognised",
    "Settings",
    "Student",
    "Window",
    "answers",
    "averaged_logits",
    "chosen_once",
    "correctly_classified",
    "descent_of",
    "expert_in_turn",
    "flat_recipe",
    "halved",
    "labelled_start",
    "logits_of",
    "matching_cost",
    "minibatches",
    "perturbed",
    "representative",
    "require_momentum",
    "segment_between",
    "student_of",
    "trained",
]
