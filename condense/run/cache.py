"""Values built once and shared between runs: content-addressed, verified, locked.

An entry is `<cache>/built/<digest of the key>/` with `data.safetensors` and `entry.json` (key, plain numbers, SHA-256).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from condense import files
from condense.errors import CondenseError, DamagedFile
from condense.identity import digest

DATA = "data.safetensors"
FACTS = "entry.json"
WORK = "-work"  # suffix of the folder of a builder's own run

Value = Tensor | bool | int | float | str


@dataclass(frozen=True)
class Entry:
    """One cached value: the folder it is in, the key it was built for, and its size in bytes."""

    folder: Path
    key: Mapping[str, Any]
    nbytes: int


def root(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the entries."""
    from condense.data import cache

    return cache.root(cache_dir) / "built"


def place(key: Mapping[str, Any], cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder of one entry, whether it is there or not."""
    return root(cache_dir) / digest(dict(key))


def store(folder: Path, key: Mapping[str, Any], values: Mapping[str, Value], seconds: Mapping[str, float]) -> None:
    """Writes an entry, whole, over a damaged one.

    seconds: what its building took, and that of each entry it was made from, by the name of the entry's folder.
    """
    with files.staged_directory(folder, replace_existing=True) as staging:
        files.write_tensors(staging / DATA, {name: item for name, item in values.items() if isinstance(item, Tensor)})
        facts = {
            "key": dict(key),
            "plain": {name: item for name, item in values.items() if not isinstance(item, Tensor)},
            "sha256": files.sha256(staging / DATA),
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
        }
        files.write_json(staging / FACTS, {**facts, "digest": digest(facts)})


def read(folder: Path) -> dict[str, Value]:
    """The values of an entry, tensors on the CPU.

    Raises:
        DamagedFile: naming the file that is missing or not what was written.
    """
    facts = _facts(folder)
    path = folder / DATA
    if not path.is_file():
        raise DamagedFile(path, "missing")
    if files.sha256(path) != facts["sha256"]:
        raise DamagedFile(path, "its SHA-256 is not the recorded one")
    return {**files.read_tensors(path), **facts["plain"]}


def seconds(folder: Path) -> dict[str, float]:
    """What `store` was told that the building took; nothing of an entry that an older version wrote."""
    return dict(_facts(folder).get("seconds", {}))


def entries(cache_dir: str | os.PathLike[str] | None = None) -> list[Entry]:
    """Every entry whose description can be read."""
    found = []
    for folder in _folders(cache_dir):
        try:
            key = _facts(folder)["key"]
        except DamagedFile:
            continue
        found.append(Entry(folder, key, sum(path.stat().st_size for path in folder.iterdir())))
    return found


def verify(cache_dir: str | os.PathLike[str] | None = None) -> list[str]:
    """What is wrong with the entries, one line each, naming the file; every byte is read."""
    problems = []
    for folder in _folders(cache_dir):
        try:
            read(folder)
        except CondenseError as error:
            problems.append(str(error))
    return problems


def clear(cache_dir: str | os.PathLike[str] | None = None) -> int:
    """Removes every entry that nobody is building, and interrupted builds; returns the bytes that became free.

    Locks stay: a process that waits for one would otherwise hold a file that others no longer see.
    """
    freed = 0
    base = root(cache_dir)
    for folder in sorted(path for path in base.iterdir() if path.is_dir()) if base.is_dir() else []:
        try:
            with files.lock(folder.with_name(folder.name.removesuffix(WORK)), timeout=0):
                freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                files.discard(folder)
        except files.InUse:
            continue
    return freed


def _folders(cache_dir: str | os.PathLike[str] | None) -> list[Path]:
    base = root(cache_dir)
    inside = base.iterdir() if base.is_dir() else ()
    return sorted(path for path in inside if path.is_dir() and len(path.name) == 64 and path.name.isalnum())


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS
    if not path.is_file():
        raise DamagedFile(path, "missing")
    facts = files.read_json(path)
    try:
        recorded = facts.pop("digest")
        sound = recorded == digest(facts) and digest(facts["key"]) == folder.name
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, f"not the description of a cached value: {error!r}") from error
    if not sound:
        raise DamagedFile(path, "its content is not what was written")
    return dict(facts)
