"""What may be replaced: what saving a set, or exporting one, left, and not a file besides.

A saved set lists its files in set.json. An exported folder does in `.condense-export.json`, which programs that read
such folders pass over, and an archive of NumPy is known by its three parts.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from condense import files
from condense.distilled import schema
from condense.errors import BadInput, CondenseError, DamagedFile

MARK = ".condense-export.json"
_PARTS = {"images.npy", "labels.npy", "about.npy"}


def require_apart(source: Path, target: Path) -> None:
    """Refuses, with BadInput, to write over what is read, or over a folder around it."""
    read, written = Path(os.path.realpath(source)), Path(os.path.realpath(target))
    if written == read or written in read.parents:
        raise BadInput(f"{target} is, or contains, {source}, which is read; choose another target")


def require_saved(target: Path) -> None:
    """Refuses to replace anything else than a saved set.

    Raises:
        BadInput: naming what else is there; not for a folder that is absent or empty.
    """
    if not _is_filled(target):
        return
    try:
        described = schema.read(target)
    except CondenseError as error:
        raise _refusal(target, f"it is no sound set ({error})") from error
    _require_only(target, {schema.NAME, *described.files})


def require_exported(target: Path) -> None:
    """Refuses to replace a folder that is not, as a whole, what an export wrote.

    Raises:
        BadInput: naming what else is there; not for a folder that is absent or empty.
    """
    if not _is_filled(target):
        return
    try:
        listed = files.read_json(target / MARK)["files"]
        known = {MARK, *map(str, listed)}
    except (DamagedFile, OSError, KeyError, TypeError) as error:
        raise _refusal(target, f"it has no {MARK}, which every export leaves") from error
    _require_only(target, known)


def require_archive(target: Path) -> None:
    """Refuses, with BadInput, to replace a file that is not an archive as an export writes it, and a folder."""
    if target.is_dir():
        raise BadInput(f"{target} is a folder where a file should be written; choose another place")
    if not os.path.lexists(os.path.realpath(target)):
        return
    try:
        with zipfile.ZipFile(target) as archive:
            is_ours = set(archive.namelist()) == _PARTS
    except (zipfile.BadZipFile, OSError):
        is_ours = False
    if not is_ours:
        raise _refusal(target, "it is not an archive that an export wrote")


@contextmanager
def staged_export(target: Path) -> Iterator[Path]:
    """Yields a folder to fill; at success it becomes `target`, with a list of its files, in place of an earlier export.

    Raises:
        BadInput: for a target that holds anything else.
    """
    require_exported(target)
    with files.staged_directory(target, replace_existing=True) as folder:
        yield folder
        files.write_json(folder / MARK, {"files": sorted(_names(folder))})
        require_exported(target)


def _is_filled(target: Path) -> bool:
    return target.is_dir() and any(target.iterdir())


def _names(folder: Path) -> Iterator[str]:
    """Everything below a folder but for folders, as paths inside it."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _require_only(folder: Path, known: set[str]) -> None:
    if strange := sorted(set(_names(folder)) - known):
        raise _refusal(folder, f"it also holds {strange[0]}")


def _refusal(target: Path, reason: str) -> BadInput:
    return BadInput(f"{target} is not replaced, since {reason}; remove it yourself, or choose another place")
