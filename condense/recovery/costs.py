"""The work of a method of this family, from its teachers to its labels."""

from __future__ import annotations

import math

from condense import networks
from condense.data import Split
from condense.method import Cost
from condense.recovery.observed import check_norms
from condense.recovery.synthesis import Synthesis
from condense.teachers import committee_cost, members
from condense.training import Recipe

_HELD = 2.0  # copies of all pixels that are in memory while a set is put together and saved


def cost(
    train: Split,
    teachers: str,
    training: Recipe,
    settings: Synthesis,
    images: int,
    labels: Cost,
    *,
    share: float = 1.0,
) -> Cost:
    """Training the teachers, recovering images from them, and asking them for labels.

    Args:
        teachers: names as `committee` reads them.
        images: that are recovered.
        labels: the work of asking.
        share: of the steps that each teacher takes part in; a forward pass and an input gradient then.

    Raises:
        BadInput: for settings that cannot be, or a teacher without batch norm.
    """
    settings.views(train.flips)
    training_cost = committee_cost(teachers, train, training)
    names = [name.partition("@")[0] for name in members(teachers)]
    works = [networks.work(name, train.shape, train.n_classes) for name in names]
    for name, work in zip(names, works, strict=True):
        check_norms(work.batch_norms, name)
    forward = float(sum(each.operations for each in works))
    maps = max(each.activation_bytes for each in works)
    together = min(settings.batch, train.n_classes, settings.chunk or train.n_classes)
    pixels = _HELD * images * math.prod(train.shape)
    return Cost(
        shared_operations=training_cost.operations,
        operations=training_cost.operations + 2.0 * share * forward * images * settings.steps + labels.operations,
        memory_bytes=max(training_cost.memory_bytes, pixels + max(2.0 * maps * together, labels.memory_bytes)),
        disk_bytes=labels.disk_bytes,
    )
