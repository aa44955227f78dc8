"""How the experts of the family are trained where two methods train them alike, and what all of it costs."""

from __future__ import annotations

import dataclasses

from condense import networks
from condense.augment import Augmentation
from condense.budget import Budget
from condense.data import Split
from condense.experts import ExpertRecipe, Experts, cost, experts
from condense.method import Cost
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.trajectories.settings import Settings
from condense.unroll.engines import WITH_STEPS


def flat_recipe(network: str, lr: float, batch: int, augment: Augmentation, rho: float, alpha: float) -> ExpertRecipe:
    """FTD's experts, trained by GSAM of radius `rho`; with rho 0 the plain ones of MTT, and the same files."""
    plain = ExpertRecipe(network, lr, batch, augment=augment.spec())
    return dataclasses.replace(plain, optimiser="gsam", rho=rho, alpha=alpha) if rho else plain


def trained(
    config: Settings, train: Split, space: Preprocessing, recipe: ExpertRecipe, epochs: int, run: Run
) -> Experts:
    """The experts that a configuration asks for, after 0 to `epochs` epochs; see `condense.experts.experts`."""
    return experts(train, space, recipe, count=config.experts, epochs=epochs, run=run, store=config.expert_store)


def matching_cost(config: Settings, recipe: ExpertRecipe, epochs: int, train: Split, budget: Budget) -> Cost:
    """Experts of so many epochs that are not in the cache, then an unrolled gradient for each outer step.

    A student's step on b images is a pass forward and two backward; its transpose repeats that with a graph and
    differentiates it, which is twice as much again: 9 passes over b images in all. Engines that are not made of single
    steps keep every graph.
    """
    network = networks.build(config.network, train.shape, train.n_classes)
    forward, activations = networks.operations(network, train.shape), networks.activation_bytes(network, train.shape)
    synthetic = sum(budget.counts(train.class_counts()))
    images = min(config.batch or synthetic, synthetic)
    before = cost(train, recipe, config.experts, epochs, config.expert_store)
    path = 4.0 * config.student_steps * networks.parameter_count(network)
    graphs = 4.0 * activations * images * config.student_steps
    if config.engine in WITH_STEPS:
        graphs = min(config.graph_gibibytes * 2**30, graphs)
    return Cost(
        shared_operations=before.operations,
        operations=before.operations + 9.0 * config.steps * config.student_steps * images * forward,
        memory_bytes=max(before.memory_bytes, 4.0 * activations * images + path + graphs),
        disk_bytes=before.disk_bytes,
    )
