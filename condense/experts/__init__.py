"""Expert trajectories: networks trained on the real training split, with their parameters after every epoch.

pool = experts(train, space, ExpertRecipe(), count=100, epochs=50, run=run)
start, target = pool.at(expert, 3), pool.at(expert, 5)  # (P,) each
"""

from __future__ import annotations

from condense.experts.collection import Experts, cost, experts
from condense.experts.recipe import AST, FTD, MTT, ExpertRecipe
from condense.experts.trajectory import Store

__all__ = ["AST", "FTD", "MTT", "ExpertRecipe", "Experts", "Store", "cost", "experts"]
