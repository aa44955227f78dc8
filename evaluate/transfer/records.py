"""Records of transfer: one JSON file per (protocol, source, budget, start), targets x networks x settings inside.

As the judge's records, a file is written once and then only grows. Cells are named "target/network/use@share".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from condense import __version__, files
from condense.budget import Budget
from condense.errors import BadInput
from condense.evaluate.parts import Cell, Celled, Code, DatasetRef, DistillCost, ProtocolRef, SetRef, Volatile
from condense.evaluate.shelf import Shelf
from condense.evaluate.version import TRANSFER, commit

FOLDER = "transfers"  # of a results folder
_SEPARATOR = "/"
StartName = Literal["set", "scratch", "self-supervised"]


@dataclass(frozen=True)
class Place:
    """Where a number stands in a record."""

    target: str  # name of the data set
    network: str
    setting: str  # use@share


class TransferRecord(Celled):
    """One start under one transfer protocol, on every target that it was tried on."""

    FIXED = ("judge", "protocol", "source", "start", "budget")

    schema_version: Literal[1] = Field(default=1, alias="schema")
    judge: int
    protocol: ProtocolRef
    source: DatasetRef
    start: StartName
    budget: dict[str, int | float] | None  # of the set; None for the references
    set: SetRef | None
    targets: dict[str, str]  # name -> fingerprint
    command: str
    code: Code

    @model_validator(mode="after")
    def _consistent(self) -> TransferRecord:
        if (self.start == "set") != (self.set is not None) or (self.set is None) != (self.budget is None):
            raise ValueError("a record has a set and its budget exactly when its start is a set")
        if unknown := {place.target for place, _ in self.places()} - self.targets.keys():
            raise ValueError(f"cells of {sorted(unknown)[0]}, whose fingerprint is not among the targets")
        return self

    def require_same(self, new: Self, path: Path) -> None:
        super().require_same(new, path)
        for name in self.targets.keys() & new.targets.keys():
            if self.targets[name] != new.targets[name]:
                raise BadInput(f"{path} has numbers of other data called {name}; give another --results folder")

    def grown(self, new: Self) -> Self:
        return super().grown(new).model_copy(update={"targets": {**new.targets, **self.targets}})

    def places(self) -> Iterator[tuple[Place, Cell]]:
        """Every cell with its place."""
        for name, cell in self.cells.items():
            yield place_of(name), cell

    @property
    def budget_name(self) -> str | None:
        return None if self.budget is None else str(Budget.from_spec(self.budget))


def name_of(place: Place) -> str:
    """The name of a cell."""
    return _SEPARATOR.join((place.target, place.network, place.setting))


def place_of(name: str) -> Place:
    """Raises:
    ValueError: for a name that has not three parts.
    """
    parts = name.split(_SEPARATOR)
    if len(parts) != 3:
        raise ValueError(f"a cell is called target/network/setting, found {name!r}")
    return Place(*parts)


def compose(
    *,
    protocol: ProtocolRef,
    source: DatasetRef,
    start: StartName,
    judged: SetRef | None,
    budget: Budget | None,
    targets: Mapping[str, str],
    command: str,
    distill: DistillCost | None = None,
    device: str = "cpu",
) -> TransferRecord:
    """A record without cells, with this code, judge, date and host."""
    from condense import machine  # here, because it imports PyTorch, which readers of records do not need

    host: dict[str, Any] = machine.describe(device)
    return TransferRecord(
        judge=TRANSFER,
        protocol=protocol,
        source=source,
        start=start,
        budget=None if budget is None else budget.spec(),
        set=judged,
        targets=dict(targets),
        cells={},
        command=command,
        code=Code(version=__version__, commit=commit()),
        volatile=Volatile(date=datetime.now(UTC).isoformat(timespec="seconds"), host=host, distill=distill),
    )


def _place(record: TransferRecord) -> Path:
    """<protocol>-<version>/<source>/<budget>/<method>-s<seed>-<id 8>.json.

    The references have no budget: <source>/scratch.json and <source>/self-supervised.json.
    """
    folder = Path(f"{record.protocol.name}-{record.protocol.version}", files.safe_name(record.source.name))
    if record.set is None or record.budget_name is None:
        return folder / f"{record.start}.json"
    return folder / record.budget_name / record.set.file_name


_SHELF = Shelf(FOLDER, TransferRecord, _place)
path_of, read, read_all = _SHELF.path_of, _SHELF.read, _SHELF.read_all
standing, merge = _SHELF.standing, _SHELF.merge
