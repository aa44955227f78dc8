"""The work of a method of this family, from its teachers to its labels."""

from __future__ import annotations

from condense import networks
from condense.data import Split
from condense.method import Cost
from condense.teachers import committee_cost, members
from condense.training import Recipe


def cost(
    train: Split,
    teachers: str,
    training: Recipe,
    *,
    images: int,
    steps: int,
    together: int,
    share: float = 1.0,
    regions: int = 0,
) -> Cost:
    """Training the teachers, recovering images from them, and labels for regions.

    Args:
        teachers: names as `committee` reads them.
        images, steps: that are recovered, and steps on each.
        together: images in memory with their maps at a time.
        share: of the steps that each teacher takes part in; a forward pass and an input gradient then.
        regions: for which every teacher answers.
    """
    training_cost = committee_cost(teachers, train, training)
    works = [networks.work(name.partition("@")[0], train.shape, train.n_classes) for name in members(teachers)]
    forward = float(sum(each.operations for each in works))
    maps = max(each.activation_bytes for each in works)
    return Cost(
        operations=training_cost.operations + forward * (2.0 * share * images * steps + regions),
        memory_bytes=max(training_cost.memory_bytes, 2.0 * maps * together),
        disk_bytes=2.0 * regions * train.n_classes,
    )
