"""`condense cache`: what is kept between runs, and may always be removed, since it is made again when needed.

Only the four folders below the cache that this project writes are looked into, so that a mistyped --cache-dir costs
nobody their files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from condense import files
from condense.cli import tables
from condense.errors import BadInput


def cache(arguments: argparse.Namespace) -> int:
    """Lists, verifies or clears; 1 when something is damaged."""
    from condense.data.cache import root

    folder = root(arguments.cache_dir)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file where the cache folder should be; remove it or set CONDENSE_CACHE")
    return {"list": _list, "verify": _verify, "clear": _clear}[arguments.action](folder)


def _list(folder: Path) -> int:
    from condense.experts import kept
    from condense.run import cache as built

    rows = [("data set", path.name, _size(path)) for path in _data(folder)]
    rows += [("whitening", path.name, _size(path)) for path in _matrices(folder)]
    for entry in built.entries(folder):
        rows.append((str(entry.key.get("kind", "built")), entry.folder.name[:16], entry.nbytes))
    rows += [("experts", path.name[:16], _size(path)) for path in kept.entries(folder)]
    tables.show(("kind", "name", "size"), [(kind, name, _readable(size)) for kind, name, size in rows])
    print(f"{folder}: {_readable(sum(size for _, _, size in rows))} in {len(rows)} entries", file=sys.stderr)
    return 0


def _verify(folder: Path) -> int:
    from condense import whitening
    from condense.data import cache as data
    from condense.experts import kept
    from condense.run import cache as built

    problems = [problem for path in _data(folder) for problem in data.verify(path)]
    problems += [problem for path in _matrices(folder) for problem in whitening.verify(path)]
    problems += built.verify(folder) + kept.verify(folder)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{folder}: intact")
    return int(bool(problems))


def _clear(folder: Path) -> int:
    from condense.experts import kept
    from condense.run import cache as built

    freed = built.clear(folder) + kept.clear(folder)
    for path in [*_data(folder), *_matrices(folder)]:
        freed += _size(path)
        files.discard(path)
    print(f"{folder}: {_readable(freed)} freed")
    return 0


def _data(folder: Path) -> list[Path]:
    return _entries(folder / "data")


def _matrices(folder: Path) -> list[Path]:
    return _entries(folder / "preprocessing")


def _entries(section: Path) -> list[Path]:
    """Finished entries; locks and what a running process is still writing are left alone."""
    if not section.is_dir():
        return []
    return sorted(path for path in section.iterdir() if path.suffix != ".lock" and not path.name.startswith("."))


def _size(path: Path) -> int:
    inside = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in inside)


def _readable(size: float) -> str:
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} GiB"
