"""How the experts of the family are trained where two methods train them alike, and what all of it costs."""

from __future__ import annotations

import dataclasses

from condense import networks
from condense.augment import Augmentation
from condense.budget import Budget
from condense.data import Split
from condense.experts import ExpertRecipe, cost
from condense.method import Cost
from condense.trajectories.student import GRAPH_BYTES


def flat_recipe(network: str, lr: float, batch: int, augment: Augmentation, rho: float, alpha: float) -> ExpertRecipe:
    """FTD's experts, trained by GSAM of radius `rho`; with rho 0 the plain ones of MTT, and the same files."""
    plain = ExpertRecipe(network, lr, batch, augment=augment.spec())
    return dataclasses.replace(plain, optimiser="gsam", rho=rho, alpha=alpha) if rho else plain


def matching_cost(
    train: Split,
    budget: Budget,
    recipe: ExpertRecipe,
    *,
    experts: int,
    epochs: int,
    steps: int,
    student_steps: int,
    batch: int | None,
) -> Cost:
    """Experts that are not in the cache, then `steps` unrolled gradients by the adjoint sweep.

    A student's step on b images is a pass forward and two backward; its transpose repeats that with a graph and
    differentiates it, which is twice as much again: 9 passes over b images in all.
    """
    network = networks.build(recipe.network, train.shape, train.n_classes)
    forward, activations = networks.operations(network, train.shape), networks.activation_bytes(network, train.shape)
    synthetic = sum(budget.counts(train.class_counts()))
    images = min(batch or synthetic, synthetic)
    before = cost(train, recipe, experts, epochs)
    path = 4.0 * student_steps * networks.parameter_count(network)
    graphs = min(GRAPH_BYTES, 4.0 * activations * images * student_steps)
    return Cost(
        operations=before.operations + 9.0 * steps * student_steps * images * forward,
        memory_bytes=max(before.memory_bytes, 4.0 * activations * images + path + graphs),
        disk_bytes=before.disk_bytes,
    )
