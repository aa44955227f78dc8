"""Which records are of one and the same distilled set: a set counts once, however many seeds gave it.

Records say what their set holds by a digest of its content. Records older than that are taken to be of one set when
nothing tells them apart: as many images, the same bytes of each part, the same outcome on every network, and on at
least `_ENOUGH` runs the very same accuracies, of more than one value: a network that learned nothing answers alike for
every set.
"""

from __future__ import annotations

from collections.abc import Sequence

from condense.evaluate.records import Record

_ENOUGH = 3  # runs


def distinct(records: Sequence[Record]) -> list[list[Record]]:
    """The records of each set, in the order of the first one."""
    sets: list[list[Record]] = []
    for record in records:
        home = next((group for group in sets if is_same_set(group[0], record)), None)
        if home is None:
            sets.append([record])
        else:
            home.append(record)
    return sets


def is_same_set(first: Record, second: Record) -> bool:
    """Whether two records are of one set, by the rule at the top of this module."""
    if first.set.id == second.set.id:
        return True
    if first.set.content is not None and second.set.content is not None:
        return first.set.content == second.set.content
    if (first.set.count, first.set.bytes) != (second.set.count, second.set.bytes):
        return False
    outcomes = [
        {name: (cell.status, cell.seeds, cell.accuracy) for name, cell in r.cells.items()} for r in (first, second)
    ]
    accuracies = [accuracy for cell in first.cells.values() for accuracy in cell.accuracy]
    return outcomes[0] == outcomes[1] and len(accuracies) >= _ENOUGH and len(set(accuracies)) > 1
