"""What the transfer table of `transfer.py` costs, by arithmetic, before any of it is made."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from condense.api import Place

UNLABELLED = "krr_st"
# One core with AVX-512: the narrow ConvNet in float32, as it is, forward alone, and compiled, and the narrow ResNet in
# bfloat16.
OPERATIONS_PER_SECOND = {"plain": 5.5e10, "forward": 8e10, "compiled": 8e10, "teacher": 10e10}


def estimate(
    images: int, seeds: int, settings: Mapping[str, Mapping[str, str]], given: argparse.Namespace, place: Place
) -> dict[str, float]:
    """Minutes of one core for each part: all distillation and evaluation seeds, references and baselines too.

    seeds: of distillation.  settings: of each method.  given: methods, source, targets and protocols.
    """
    from condense import methods, networks
    from condense.budget import Budget
    from condense.evaluate.transfer import protocol as transfers
    from condense.evaluate.transfer.targets import in_shape
    from condense.method import with_overrides
    from condense.self_supervised import teacher_cost

    plugin = methods.get(UNLABELLED)
    config = with_overrides(plugin.name, plugin.config(), settings[UNLABELLED])
    source = place.dataset(given.source)
    training = teacher_cost(source.train, config).operations
    watching = networks.operations(networks.build(config.teacher_network, source.shape, 1), source.shape)
    views = watching * len(source.train) * config.cached_views
    learning = plugin.cost(source.train, Budget(total=images), config).operations - training - views
    parts = {"teacher": ("teacher", training), "its features of cached views": ("teacher", views)}
    parts["KRR-ST"] = ("compiled", seeds * learning)
    for name in (name for name in given.methods if name != UNLABELLED):
        other = methods.get(name)
        chosen = with_overrides(name, other.config(), settings[name])
        work = other.cost(source.train, Budget(total=images), chosen).operations
        parts[other.about.title] = ("plain", seeds * work)
    opened = [in_shape(name, source.shape, place.dataset) for name in given.targets]
    for rules in map(transfers.load, given.protocols):
        # Protocols with the same recipe share the networks of the full set.
        parts["full set, self-supervised"] = ("compiled", rules.seeds * _full_set(rules, source))
        parts |= {
            f"{rules.name}, {name}": work
            for name, work in _judging(rules, (images, seeds), source, opened, given.methods).items()
        }
    return {name: work / OPERATIONS_PER_SECOND[kind] / 60 for name, (kind, work) in parts.items()}


def _full_set(rules: Any, source: Any) -> float:
    from condense.self_supervised.barlow_twins import pretraining_cost

    (name,) = rules.networks(source.shape)
    operations: float = pretraining_cost(source.train, rules.self_supervision(name)).operations
    return operations


def _judging(
    rules: Any, sets: tuple[int, int], source: Any, targets: list[Any], methods: list[str]
) -> dict[str, tuple[str, float]]:
    """Operations of one protocol, and how they run: every start and seed on every target.  sets: images, and seeds."""
    from condense import networks

    (name,) = rules.networks(source.shape)
    network = networks.build(name, source.shape, 1)
    forward, width = networks.operations(network, source.shape), network.classifier.in_features
    images, seeds = sets
    unlabelled = 3 * seeds if UNLABELLED in methods else 0  # KRR-ST, random and k-means
    labelled = seeds * len(set(methods) - {UNLABELLED})
    starts = labelled + unlabelled + 2
    epochs_on_sets = sum(
        count * getattr(rules.pretrain, kind).recipe_for(images, flips=source.flips).epochs
        for kind, count in (("representation", unlabelled), ("soft", labelled))
    )
    tuning = probing = 0.0
    for target in targets:
        seen = len(target.train), len(target.test)
        probing += (rules.probe + rules.untouched_probe) * _probe_operations(rules, seen, forward, width)
        for share in rules.shares if rules.fine_tune else ():
            rows = max(target.train.n_classes, round(share * len(target.train)))
            recipe = rules.fine_tune.recipe_for(rows, flips=target.flips)
            shown = rows * recipe.epochs if recipe.updates is None else recipe.updates * min(rows, recipe.batch)
            tuning += forward * (3.0 * shown + len(target.test))
    return {
        "training on the sets": ("compiled", rules.seeds * epochs_on_sets * 3.0 * forward * images),
        "fine-tuning": ("compiled", rules.seeds * starts * tuning),
        "probes": ("forward", rules.seeds * starts * probing),
    }


def _probe_operations(rules: Any, images: tuple[int, int], forward: float, width: int) -> float:
    """Features of training and test images; then, in float64 at half the rate, five eighths of a Gram matrix of the
    smaller side and its eigenvectors, and in float32 the principal directions of all rows.
    """
    work = forward * sum(images)
    for share in rules.shares:
        rows = share * images[0]
        small = min(rows, width)
        work += (2.0 * 1.25 + 2.0) * rows * width * small + 2.0 * 10.0 * small**3
    return work
