"""Images recovered from teachers: by their class predictions and the statistics of their batch norms."""

from __future__ import annotations

from condense.recovery.blocks import Block, Descent, class_blocks, cost, descend, recover
from condense.recovery.objective import Objective, Terms, statistics_gap, terms
from condense.recovery.observed import Answer, Moments, Observed
from condense.recovery.views import Views, smallest_area

__all__ = [
    "Answer",
    "Block",
    "Descent",
    "Moments",
    "Objective",
    "Observed",
    "Terms",
    "Views",
    "class_blocks",
    "cost",
    "descend",
    "recover",
    "smallest_area",
    "statistics_gap",
    "terms",
]
