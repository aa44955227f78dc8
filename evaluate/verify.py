"""Checks a record against what can be known without repeating it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from condense.errors import BadInput, CondenseError
from condense.evaluate import protocol as protocols
from condense.evaluate import records
from condense.evaluate.records import Record
from condense.evaluate.version import JUDGE


def verify_record(path: str | Path) -> list[str]:
    """Problems of a record file, each a sentence that names the file; empty when there is none.

    Checked: the schema with its ranges and counts, the protocol against the shipped one of that name and version, the
    judge's version, the place of the file, the budget against the number of images, and one time per number.
    """
    try:
        record = records.read(path)
    except (CondenseError, OSError) as error:
        return [str(error)]
    return [f"{path}: {problem}" for problem in _problems(Path(path), record)]


def _problems(path: Path, record: Record) -> Iterator[str]:
    yield from _protocol_problems(record)
    if record.judge > JUDGE:
        yield f"was written by judge {record.judge}, this is judge {JUDGE}; update the package"
    expected = records.path_of(".", record)
    if path.resolve().parts[-len(expected.parts) :] != expected.parts:
        yield f"lies in the wrong place; its content belongs to {expected}"
    if (total := record.budget.get("total")) is not None and total != record.set.count:
        yield f"has a budget of {total} images in total, but a set of {record.set.count}"
    if (ipc := record.budget.get("ipc")) is not None and record.set.count % ipc and record.set.kind == "selection":
        yield f"has {ipc} images a class, but {record.set.count} images, which is no multiple of it"
    for name, cell in record.cells.items():
        times = record.volatile.cells.get(name)
        if len(cell.seeds) != (0 if times is None else len(times.seconds)):
            yield f"network {name} has {len(cell.seeds)} seeds and another number of times; was it edited by hand?"
    for name in sorted(record.volatile.cells.keys() - record.cells.keys()):
        yield f"has times of network {name}, but no cell of it"


def _protocol_problems(record: Record) -> Iterator[str]:
    named = f"{record.protocol.name}-{record.protocol.version}"
    try:
        shipped = protocols.load(named).reference()
    except BadInput as error:
        yield f"its protocol {named} is not one that ships with this package ({error})"
        return
    for field in ("digest", "track", "tier"):
        theirs, ours = getattr(record.protocol, field), getattr(shipped, field)
        if theirs != ours:
            yield f"the {field} of protocol {named} is {theirs!r}, the shipped one has {ours!r}; judge the set again"
