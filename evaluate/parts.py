"""What records are made of: cells by name that only grow, and what a number must be told with.

Times and host live apart in `volatile`, so that everything else is the same on every rerun.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from condense import files
from condense.errors import BadInput


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Cell(_Part):
    """What became of one network: its accuracy for every seed, or why there is none.

    A network with one diverged seed is `failed` as a whole, since a mean over the others would flatter the set; the
    seeds that did finish are kept. `failures` lists seeds that fail again whenever they are repeated; a failure of
    the machine (memory, a device) has a reason only, and the next call tries again.
    """

    status: Literal["ok", "n/a", "failed"]
    seeds: tuple[int, ...] = ()
    accuracy: tuple[float, ...] = ()  # fraction of the test split, last epoch, one per seed
    engine: str | None = None
    failures: dict[str, str] = {}  # seed -> reason
    reason: str | None = None
    seconds: tuple[float, ...] = Field(default=(), exclude=True)  # one per seed; stored under `volatile`

    @model_validator(mode="after")
    def _consistent(self) -> Cell:
        if len(self.seeds) != len(self.accuracy):
            raise ValueError(f"{len(self.seeds)} seeds but {len(self.accuracy)} accuracies; there is one per seed")
        if list(self.seeds) != sorted(set(self.seeds)):
            raise ValueError(f"seeds must ascend without repeats, found {list(self.seeds)}")
        if outside := [value for value in self.accuracy if not 0.0 <= value <= 1.0]:
            raise ValueError(f"accuracies are fractions in [0, 1], found {outside[0]}")
        if strange := [seed for seed in self.failures if not seed.isdecimal()]:
            raise ValueError(f"failures are named by seed, found {strange[0]!r}")
        if self.status == "ok" and (not self.seeds or self.reason or self.failures):
            raise ValueError("a cell with status 'ok' has at least one seed, no reason and no failures")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"a cell with status {self.status!r} needs a reason")
        return self


class ProtocolRef(_Part):
    name: str
    version: int
    digest: str
    track: str
    tier: str


class DatasetRef(_Part):
    name: str
    fingerprint: str


class BytesRef(_Part):
    images: int = Field(ge=0)
    labels: int = Field(ge=0)
    extras: int = Field(ge=0)
    preprocessing: int = Field(ge=0)

    @property
    def total(self) -> int:
        return self.images + self.labels + self.extras + self.preprocessing


class SetRef(_Part):
    """The judged set: what made it and what it weighs. The judge sees none of this."""

    id: str = Field(pattern=r"^[0-9a-f]{8,64}$")
    method: str
    title: str
    kind: Literal["synthetic", "selection", "full"]
    preset: str | None
    changed: tuple[str, ...] | None = None  # fields of the configuration that are not the preset's; None: not recorded
    content: str | None = None  # digest of what can be trained on: equal in equal sets, whatever made them
    label_recipe: str | None = None  # names who answered how, for labels that teachers gave; equal ones are comparable
    config: dict[str, Any]
    seed: int
    seeded: bool = True  # False: every seed gives this set
    trained_on: str
    preprocessing: str
    labels: str
    count: int = Field(ge=1)
    bytes: BytesRef
    engine: dict[str, Any] = {}
    stops: dict[str, Any] = {}

    @property
    def file_name(self) -> str:
        """What the file of a record of this set is called: <method>-s<seed>-<id 8>.json."""
        return f"{files.safe_name(Path(self.method).stem)}-s{self.seed}-{self.id[:8]}.json"

    @property
    def setting(self) -> str:
        """The preset's name, and how many of its fields were changed: "default, 3 changed"."""
        name = self.preset or "default"
        return f"{name}, {len(self.changed)} changed" if self.changed else name


class Code(_Part):
    version: str
    commit: str | None = None


class DistillCost(_Part):
    seconds: float  # of the set alone
    shared_seconds: float = 0.0  # of what other sets use too, such as feature networks: in full, whoever computed it
    peak_bytes: int | None = None


class CellTimes(_Part):
    seconds: tuple[float, ...]  # one per seed of the cell


class Volatile(_Part):
    date: str
    host: dict[str, Any]
    distill: DistillCost | None = None
    cells: dict[str, CellTimes] = {}


class Celled(_Part):
    """What grows: cells by name, and the seconds that each of their seeds took."""

    FIXED: ClassVar[tuple[str, ...]]  # fields that never change as a file grows

    set: SetRef | None
    cells: dict[str, Cell]
    volatile: Volatile

    def require_same(self, new: Self, path: Path) -> None:
        """Raises:
        BadInput: when `new` is of another judge, protocol, data or set than this record, which `path` holds.
        """
        for field in self.FIXED:
            if getattr(self, field) != getattr(new, field):
                raise BadInput(
                    f"{path} was written with another {field} ({getattr(self, field)}, now {getattr(new, field)}); "
                    "give another --results folder, or move the old records away"
                )
        if self.set is not None and new.set is not None and self.set.id != new.set.id:
            raise BadInput(f"{path} holds set {self.set.id}, not {new.set.id}; give another --results folder")

    def with_cells(self, cells: Mapping[str, Cell]) -> Self:
        """The same record with these cells and their times in place of its own."""
        times = {name: CellTimes(seconds=cell.seconds) for name, cell in cells.items() if cell.seeds}
        return self.model_copy(
            update={"cells": dict(cells), "volatile": self.volatile.model_copy(update={"cells": times})}
        )

    def grown(self, new: Self) -> Self:
        """This record with the networks and seeds of `new` that it lacks; its own numbers stay."""
        cells, times = dict(self.cells), dict(self.volatile.cells)
        for name, cell in new.cells.items():
            cells[name] = _joined(cells[name], cell) if name in cells else cell
            if seconds := _seconds(cells[name], (self, name), (new, name)):
                times[name] = CellTimes(seconds=seconds)
        return self.model_copy(update={"cells": cells, "volatile": self.volatile.model_copy(update={"cells": times})})

    def done(self) -> AbstractSet[tuple[str, int]]:
        """The (cell, seed) pairs that need no repetition: finished, or bound to fail again."""
        pairs = {(name, seed) for name, cell in self.cells.items() for seed in cell.seeds}
        return pairs | {(name, int(seed)) for name, cell in self.cells.items() for seed in cell.failures}

    def to_bytes(self) -> bytes:
        """The one text of this record: sorted keys, what a cell lacks left out, a newline at the end."""
        plain = self.model_dump(mode="json", by_alias=True)
        for field in ("changed", "content", "label_recipe"):  # an older record lacks them
            if plain["set"] is not None and plain["set"][field] is None:
                del plain["set"][field]
        plain["cells"] = {
            name: {key: value for key, value in cell.items() if value not in (None, [], {})}
            for name, cell in plain["cells"].items()
        }
        return (json.dumps(plain, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _joined(old: Cell, new: Cell) -> Cell:
    accuracy = dict(zip(new.seeds, new.accuracy, strict=True)) | dict(zip(old.seeds, old.accuracy, strict=True))
    failures = {seed: why for seed, why in (new.failures | old.failures).items() if int(seed) not in accuracy}
    seeds = tuple(sorted(accuracy))
    kept = {"seeds": seeds, "accuracy": tuple(accuracy[seed] for seed in seeds), "engine": old.engine or new.engine}
    if failures:
        first = min(failures, key=int)
        return Cell(status="failed", failures=failures, reason=f"seed {first}: {failures[first]}", **kept)
    if seeds and new.status != "failed":
        return Cell(status="ok", **kept)
    return Cell(status=new.status, reason=new.reason, **kept)


def _seconds(cell: Cell, *sources: tuple[Celled, str]) -> tuple[float, ...]:
    """Seconds in the order of the cell's seeds; the first source that knows a seed wins."""
    known: dict[int, float] = {}
    for record, name in reversed(sources):
        if name in record.cells and name in record.volatile.cells:
            known |= dict(zip(record.cells[name].seeds, record.volatile.cells[name].seconds, strict=True))
    return tuple(known[seed] for seed in cell.seeds if seed in known)
