"""Which engine trains experts on which device: decided from measurements, never by timing at run time."""

from __future__ import annotations

import torch
from torch import nn

from condense.data import Split
from condense.experts.recipe import ExpertRecipe
from condense.training import Engine, Recipe, choose

# Expert epochs that a request is taken to be for. The engine moves the last bits, so it must not depend on how many
# epochs are asked for: a longer need could not extend what a shorter one made.
_USUAL_EPOCHS = 20


def choose_engine(recipe: ExpertRecipe, network: nn.Module, train: Split, device: torch.device) -> Engine:
    """The engine that was measured to be the fastest for a usual number of expert epochs.

    On a CPU: one expert at a time (batching over networks was measured to be slower there), compiled where that is
    repaid, whether or not the method itself may compile, since methods share the files; a step with two gradients
    repays it sooner, which is not counted. Elsewhere one at a time, uncompiled, which nothing was measured against; a
    caller of `experts` may give `Engine("batched")`.
    """
    usual = Recipe(epochs=_USUAL_EPOCHS, batch=recipe.batch, lr=recipe.lr)
    return choose(usual, network, len(train), device, shape=train.shape)
