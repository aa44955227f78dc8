"""Optimisers of a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from condense.training.recipe import Recipe


def build_optimiser(parameters: Iterable[Tensor], recipe: Recipe, *, stacked: bool = False) -> Optimizer:
    """The recipe's optimiser in its fused form: one kernel a step instead of three per parameter tensor.

    stacked: the parameters carry a leading dimension of seeds, which does not count for `recipe.decay`.
    """
    groups = _groups(list(parameters), recipe, 2 + stacked)
    if recipe.optimiser == "sgd":
        return SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)
    kind = Adam if recipe.optimiser == "adam" else AdamW
    return kind(groups, lr=recipe.lr, betas=recipe.betas, fused=True)


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """The learning rate of all groups."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def restart(optimiser: Optimizer) -> None:
    """Forgets momentum and moments, as making the optimiser anew would."""
    optimiser.state.clear()


def _groups(parameters: list[Tensor], recipe: Recipe, dimensions: int) -> list[dict[str, Any]]:
    if recipe.decay == "all":
        return [{"params": parameters, "weight_decay": recipe.weight_decay}]
    matrices = [parameter for parameter in parameters if parameter.dim() >= dimensions]
    vectors = [parameter for parameter in parameters if parameter.dim() < dimensions]
    decayed = {"params": matrices, "weight_decay": recipe.weight_decay}
    return [decayed, {"params": vectors, "weight_decay": 0.0}]
