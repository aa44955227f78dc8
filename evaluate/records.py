"""Records: one JSON file per (protocol, data set, budget, distilled set), networks x seeds inside.

A record is written once and then only grows: a later call adds networks and seeds, never changes a number that is
there, and leaves the file byte for byte as it was when it has nothing to add. Times and host live apart in
`volatile`, so that everything else is the same on every rerun.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from condense import __version__, files
from condense.budget import Budget
from condense.evaluate.parts import Cell, Celled, Code, DatasetRef, DistillCost, ProtocolRef, SetRef, Volatile
from condense.evaluate.shelf import Shelf
from condense.evaluate.version import JUDGE, commit


class Record(Celled):
    """One judged set under one protocol."""

    FIXED = ("judge", "protocol", "dataset", "budget")

    schema_version: Literal[1] = Field(default=1, alias="schema")
    judge: int
    protocol: ProtocolRef
    dataset: DatasetRef
    budget: dict[str, int | float]
    set: SetRef
    command: str
    code: Code

    @field_validator("budget")
    @classmethod
    def _one_budget(cls, value: dict[str, int | float]) -> dict[str, int | float]:
        return Budget.from_spec(value).spec()

    @property
    def budget_name(self) -> str:
        return str(Budget.from_spec(self.budget))


def compose(
    *,
    protocol: ProtocolRef,
    dataset: DatasetRef,
    budget: Budget,
    judged: SetRef,
    cells: Mapping[str, Cell],
    command: str,
    distill: DistillCost | None = None,
    device: str = "cpu",
) -> Record:
    """A record of `cells`, as `judge` gave them, with this code, judge, date and host."""
    from condense import machine  # here, because it imports PyTorch, which readers of records do not need

    empty = Record(
        judge=JUDGE,
        protocol=protocol,
        dataset=dataset,
        budget=budget.spec(),
        set=judged,
        cells={},
        command=command,
        code=Code(version=__version__, commit=commit()),
        volatile=Volatile(
            date=datetime.now(UTC).isoformat(timespec="seconds"), host=machine.describe(device), distill=distill
        ),
    )
    return empty.with_cells(cells)


def _place(record: Record) -> Path:
    """<protocol>-<version>/<dataset>/<budget>/<method>-s<seed>-<id 8>.json."""
    folder = Path(f"{record.protocol.name}-{record.protocol.version}", files.safe_name(record.dataset.name))
    return folder / record.budget_name / record.set.file_name


_SHELF = Shelf("records", Record, _place)
path_of, paths, read, read_all = _SHELF.path_of, _SHELF.paths, _SHELF.read, _SHELF.read_all
standing, merge = _SHELF.standing, _SHELF.merge


def done(record: Record | None) -> AbstractSet[tuple[str, int]]:
    """The (network, seed) pairs that need no repetition: finished, or bound to fail again."""
    return set() if record is None else record.done()
