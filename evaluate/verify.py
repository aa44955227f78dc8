"""Checks a record against what can be known without repeating it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from condense.errors import BadInput, CondenseError
from condense.evaluate import protocol as protocols
from condense.evaluate import records
from condense.evaluate.parts import Celled, ProtocolRef
from condense.evaluate.records import Record
from condense.evaluate.transfer import protocol as transfer_protocols
from condense.evaluate.transfer import records as transfers
from condense.evaluate.transfer.records import TransferRecord
from condense.evaluate.version import JUDGE, TRANSFER


def verify_record(path: str | Path) -> list[str]:
    """Problems of a record file, each a sentence that names the file; empty when there is none.

    A file below a folder `transfers` is a record of the transfer judge.

    Checked: the schema with its ranges and counts, the protocol against the shipped one of that name and version, the
    judge's version, the place of the file, the budget against the number of images, and one time per number.
    """
    try:
        if transfers.FOLDER in Path(path).absolute().parts:
            return [f"{path}: {problem}" for problem in _transfer_problems(Path(path), transfers.read(path))]
        record = records.read(path)
    except (CondenseError, OSError) as error:
        return [str(error)]
    return [f"{path}: {problem}" for problem in _problems(Path(path), record)]


def _problems(path: Path, record: Record) -> Iterator[str]:
    named = f"{record.protocol.name}-{record.protocol.version}"
    yield from _protocol_problems(record.protocol, lambda: protocols.load(named).reference())
    if record.judge > JUDGE:
        yield f"was written by judge {record.judge}, this is judge {JUDGE}; update the package"
    yield from _place_problems(path, records.path_of(".", record))
    if (total := record.budget.get("total")) is not None and total != record.set.count:
        yield f"has a budget of {total} images in total, but a set of {record.set.count}"
    if (ipc := record.budget.get("ipc")) is not None and record.set.count % ipc and record.set.kind == "selection":
        yield f"has {ipc} images a class, but {record.set.count} images, which is no multiple of it"
    yield from _time_problems(record)


def _transfer_problems(path: Path, record: TransferRecord) -> Iterator[str]:
    named = f"{record.protocol.name}-{record.protocol.version}"
    yield from _protocol_problems(record.protocol, lambda: transfer_protocols.load(named).reference())
    if record.judge > TRANSFER:
        yield f"was written by transfer judge {record.judge}, this is {TRANSFER}; update the package"
    yield from _place_problems(path, transfers.path_of(".", record))
    yield from _time_problems(record)


def _place_problems(path: Path, expected: Path) -> Iterator[str]:
    if path.resolve().parts[-len(expected.parts) :] != expected.parts:
        yield f"lies in the wrong place; its content belongs to {expected}"


def _time_problems(record: Celled) -> Iterator[str]:
    for name, cell in record.cells.items():
        times = record.volatile.cells.get(name)
        if len(cell.seeds) != (0 if times is None else len(times.seconds)):
            yield f"network {name} has {len(cell.seeds)} seeds and another number of times; was it edited by hand?"
    for name in sorted(record.volatile.cells.keys() - record.cells.keys()):
        yield f"has times of network {name}, but no cell of it"


def _protocol_problems(found: ProtocolRef, shipped: Callable[[], ProtocolRef]) -> Iterator[str]:
    named = f"{found.name}-{found.version}"
    try:
        ours = shipped()
    except BadInput as error:
        yield f"its protocol {named} is not one that ships with this package ({error})"
        return
    for field in ("digest", "track", "tier"):
        if getattr(found, field) != getattr(ours, field):
            yield (
                f"the {field} of protocol {named} is {getattr(found, field)!r}, the shipped one has "
                f"{getattr(ours, field)!r}; judge the set again"
            )
