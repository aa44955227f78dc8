"""`condense cache`: what is kept between runs, and may always be removed, since it is made again when needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from condense import files
from condense.cli import tables
from condense.errors import BadInput, DamagedFile

# Only these folders of the cache are looked into, so that a mistyped --cache-dir costs nobody their files.
SECTIONS = {
    "data": "decoded data sets",
    "preprocessing": "whitening matrices",
    "cached": "networks and features that methods share",
}


def cache(arguments: argparse.Namespace) -> int:
    """Lists, verifies or clears; 1 when something is damaged."""
    from condense.data.cache import root

    folder = root(arguments.cache_dir)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file where the cache folder should be; remove it or set CONDENSE_CACHE")
    entries = [(section, path) for section in SECTIONS for path in _entries(folder / section)]
    print(f"{folder}: {_readable(sum(_size(path) for _, path in entries))}", file=sys.stderr)
    if arguments.action == "verify":
        return _verify(entries)
    if arguments.action == "clear":
        for _, path in entries:
            files.discard(path)
            print(f"removed {path}")
        return 0
    rows = [(SECTIONS[section], path.name, _readable(_size(path))) for section, path in entries]
    tables.show(("kind", "name", "size"), rows)
    return 0


def _verify(entries: list[tuple[str, Path]]) -> int:
    damaged = False
    for section, path in entries:
        for problem in _problems(section, path):
            print(problem)
            damaged = True
    if not damaged:
        print(f"{len(entries)} entries, all intact")
    return int(damaged)


def _problems(section: str, path: Path) -> Iterator[str]:
    from condense.data import cache as data_cache

    if section == "data":
        yield from data_cache.verify(path)
        return
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        try:
            if file.suffix == ".safetensors":
                files.read_tensors(file)
            elif file.suffix == ".json":
                files.read_json(file)
        except DamagedFile as error:
            yield str(error)


def _entries(section: Path) -> list[Path]:
    """Finished entries; locks and what a running process is still writing are left alone."""
    if not section.is_dir():
        return []
    return sorted(path for path in section.iterdir() if path.suffix != ".lock" and not path.name.startswith("."))


def _size(path: Path) -> int:
    files_in = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files_in)


def _readable(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
