"""Images recovered from teachers: by their class predictions and the statistics of their batch norms."""

from __future__ import annotations

from condense.recovery.blocks import Block, Descent, class_blocks, descend, recover
from condense.recovery.costs import cost
from condense.recovery.objective import Objective, Terms, statistics_gap
from condense.recovery.observed import Answer, Moments, Observed, observe, placed
from condense.recovery.starting import Starting, starting_images
from condense.recovery.synthesis import Synthesis, Voters, images
from condense.recovery.views import Curriculum, Draws, Views, smallest_area

__all__ = [
    "Answer",
    "Block",
    "Curriculum",
    "Descent",
    "Draws",
    "Moments",
    "Objective",
    "Observed",
    "Starting",
    "Synthesis",
    "Terms",
    "Views",
    "Voters",
    "class_blocks",
    "cost",
    "descend",
    "images",
    "observe",
    "placed",
    "recover",
    "smallest_area",
    "starting_images",
    "statistics_gap",
]
