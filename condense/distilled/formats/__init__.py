"""Foreign layouts, one module each: the folder is the registry.

A module has `SUMMARY`, and `read(request) -> DistilledSet` or `write(distilled, target) -> notes` or both. The name of
a layout is that of its module, with hyphens.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from condense.distilled.container import DistilledSet
from condense.distilled.foreign import Probe, Probed, Request, probed
from condense.distilled.labels import Representations
from condense.errors import BadInput, UnknownName

Read = Callable[[Request], DistilledSet]
Write = Callable[[DistilledSet, Path], list[str]]


@dataclass(frozen=True)
class Layout:
    """A foreign layout, and which ways it goes."""

    name: str
    summary: str
    read: Read | None
    write: Write | None


@dataclass(frozen=True)
class Imported:
    """An imported set, with what the probe found: None without a probe, and for a set that knows no classes."""

    distilled: DistilledSet
    probe: Probed | None


def layouts() -> list[Layout]:
    """All layouts, by name."""
    return [_layout(found.name) for found in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name)]


def import_set(layout: str, request: Request, probe: Probe | None = None) -> Imported:
    """Reads a foreign set.

    Args:
        probe: trains a small network on the set and counts how many real training images it gets right; accuracy at
            chance level betrays a wrong pixel space or label order, which no check of values can.

    Raises:
        UnknownName: for a layout that cannot be imported, with the nearest that can.
        BadInput, DamagedFile: for what cannot be read, saying how to state what the files leave open.
    """
    readers = {known.name: known.read for known in layouts() if known.read is not None}
    if layout not in readers:
        raise UnknownName("import format", layout, readers)
    distilled = readers[layout](request)
    if probe is None or isinstance(distilled.labels, Representations):
        return Imported(distilled, None)
    return Imported(distilled, probed(distilled, request.dataset, probe))


def export_set(layout: str, distilled: DistilledSet, target: Path, *, replace_existing: bool = False) -> list[str]:
    """Writes a set in a foreign layout and returns what is worth knowing about the result, such as rounding.

    Args:
        replace_existing: write over what an earlier export left there.

    Raises:
        UnknownName: for a layout that cannot be exported, with the nearest that can.
        BadInput: when the target exists and replacing is not asked for, or holds anything that no export of its kind
            left, or the layout cannot hold this set.
    """
    writers = {known.name: known.write for known in layouts() if known.write is not None}
    if layout not in writers:
        raise UnknownName("export format", layout, writers)
    occupied = target.exists() and not (target.is_dir() and not any(target.iterdir()))
    if occupied and not replace_existing:
        raise BadInput(f"{target} exists; choose another target, or replace it (--replace)")
    return writers[layout](distilled, target)


def _layout(module_name: str) -> Layout:
    module = import_module(f"{__name__}.{module_name}")
    return Layout(
        module_name.replace("_", "-"), module.SUMMARY, getattr(module, "read", None), getattr(module, "write", None)
    )
