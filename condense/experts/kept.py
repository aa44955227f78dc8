"""The experts that are in the cache: what there is, whether it is sound, and freeing its room."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from condense import files
from condense.data import cache
from condense.experts import journal
from condense.experts.spent import SUFFIX

_FILES = "[0-9][0-9][0-9][0-9].trajectory"
_SECONDS = f"[0-9][0-9][0-9][0-9]{SUFFIX}"
_WORK = "[0-9]*.work"


def root(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder with one folder for each kind of expert."""
    return cache.root(cache_dir) / "experts"


def entries(cache_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """The folders that hold experts."""
    return [folder for folder in _folders(cache_dir) if any(folder.glob(_FILES))]


def verify(cache_dir: str | os.PathLike[str] | None = None) -> list[str]:
    """What is wrong, one line for each file; every byte is read. A torn end is not wrong: its writer may be at it."""
    problems = []
    for path in (path for folder in _folders(cache_dir) for path in sorted(folder.glob(_FILES))):
        try:
            for _ in journal.records(path):
                pass
        except journal.Damage as damage:
            problems.append(f"{path}: damaged file ({damage}); whoever asks for the expert next has it trained again")
    return problems


def clear(cache_dir: str | os.PathLike[str] | None = None) -> int:
    """Removes every expert that nobody is training, and interrupted trainings; returns the bytes that became free.

    Locks stay: a process that waits for one would otherwise hold a file that others no longer see.
    """
    freed = 0
    for folder in _folders(cache_dir):
        for path in sorted([*folder.glob(_WORK), *folder.glob(_FILES), *folder.glob(_SECONDS)]):
            first = folder / f"{int(path.stem.split('-')[0]):04d}.trajectory"
            with suppress(files.InUse), files.lock(first, timeout=0):
                inside = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
                freed += sum(file.stat().st_size for file in inside)
                files.discard(path)
    return freed


def _folders(cache_dir: str | os.PathLike[str] | None) -> list[Path]:
    """Folders that are named as experts' are."""
    return sorted(
        path for path in root(cache_dir).glob("*") if path.is_dir() and re.fullmatch("[0-9a-f]{32}", path.name)
    )
