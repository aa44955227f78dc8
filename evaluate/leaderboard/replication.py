"""What the number of a row's sets does and does not mean, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from condense.evaluate.leaderboard.board import Table
from condense.evaluate.leaderboard.rows import Row
from condense.evaluate.leaderboard.same_sets import is_same_set
from condense.evaluate.records import Record


def remarks(table: Table, row: Row) -> list[str]:
    """Sentences about the sets of a row: how far they replicate each other, and who else has them."""
    if row.kind == "full":
        return []
    said = []
    if row.one_set and not row.repeated:
        said.append("One set: these runs share one distillation, so they speak of this set, not of the method.")
    if not any(record.set.seeded for record in row.records):
        said.append("The method draws nothing: every distillation seed gives this set.")
    else:
        groups = [sorted({record.set.seed for record in group}) for group in row.sets]
        said += [
            f"Distillation seeds {_listed(seeds)} gave one and the same set." for seeds in groups if len(seeds) > 1
        ]
    said += [_repetition(seed, found) for seed, found in row.repeated.items()]
    if len(row.sets) == 1:
        single = [other for other in table.rows if len(other.sets) == 1]
        alike = [other.name for other in single if is_same_set(other.records[0], row.records[0])]
        if len(alike) > 1:
            said.append(f"One and the same set: {_listed(alike)}.")
    return said


def _repetition(seed: int, records: Sequence[Record]) -> str:
    """A sentence about several sets of one seed, with what is known to differ between their makings."""
    made = [{**record.set.engine, "commit": (record.code.commit or "unknown")[:7]} for record in records]
    names = sorted({name for each in made for name in each if len({str(other.get(name)) for other in made}) > 1})
    sets = []
    for record, each in zip(records, made, strict=True):
        told = ", ".join(f"{name}={each.get(name, 'unknown')}" for name in names)
        sets.append(record.set.id[:8] + (f" ({told})" if told else ""))
    return (
        f"Distillation seed {seed} gave {len(records)} different sets, {_listed(sets)}, by other code or on another "
        "machine. Each of its runs is their mean; move the record of one away to see the other."
    )


def _listed(parts: Sequence[object]) -> str:
    *most, last = map(str, parts)
    return f"{', '.join(most)} and {last}" if most else last
