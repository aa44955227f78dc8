"""Temporaries: hidden siblings in which a file or folder grows before it gets its name.

Their names say which process made them, so that what a killed process left behind is swept on the next use.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from condense import disk
from condense.errors import BadInput

PathLike = str | os.PathLike[str]

_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
_TEMPORARY = re.compile(r"\.tmp-(?P<host>[0-9a-f]{6})-(?P<process>\d+)-[0-9a-f]{8}-")
_ABANDONED_SECONDS = 7 * 86400  # another host's temporary: whether its process lives cannot be seen from here
_live: set[Path] = set()  # temporaries that this process is writing now
_swept: set[Path] = set()  # folders that this process has looked through


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yields a temporary to write; at success it is flushed and becomes `path`, at failure it is removed.

    A symbolic link stays one: what it points to is written.
    """
    final = _resolved(path)
    with _named(final) as temporary:
        yield temporary
        disk.fsync(temporary)
        disk.replace(temporary, final)


def require_replaceable(target: Path, replace_existing: bool) -> None:
    """Refuses, with BadInput, a target that is a file, or a folder with content that is not to be replaced."""
    if os.path.lexists(_resolved(target)) and not target.is_dir():
        raise BadInput(f"{target} is a file where a folder should be written; choose another place")
    if target.is_dir() and any(target.iterdir()) and not replace_existing:
        raise BadInput(f"{target} exists and is not empty; remove it or choose another place")


@contextmanager
def staged_directory(target: PathLike, *, replace_existing: bool = False) -> Iterator[Path]:
    """Yields a hidden sibling folder to fill; at success it becomes `target`, at failure it is removed.

    A symbolic link stays one: the folder that it points to is written.

    Raises:
        BadInput: when `target` exists as a file, or as a folder with content unless `replace_existing`.
    """
    final = _resolved(target)
    require_replaceable(final, replace_existing)
    with _named(final) as temporary:
        disk.mkdir(temporary)
        yield temporary
        require_replaceable(final, replace_existing)
        if final.is_dir() and any(final.iterdir()):
            # Two renames are not one: killed in between, the target is absent, never half of each.
            with _named(final) as old:
                disk.rename(final, old)
                disk.rename(temporary, final)
                disk.remove_tree(old)
        else:
            disk.rename(temporary, final)


def _resolved(path: PathLike) -> Path:
    """Where symbolic links lead to; one that leads back to itself stays."""
    return Path(os.path.realpath(path))


@contextmanager
def _named(path: Path) -> Iterator[Path]:
    if not path.parent.is_dir():
        disk.mkdir(path.parent)
    folder = path.parent.resolve()
    if folder not in _swept:
        sweep(folder)
    # A long name of its own must not push the temporary beyond the 255 bytes of a file name.
    temporary = folder / f".tmp-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}-{path.name[:60]}"
    _live.add(temporary)
    try:
        yield temporary
    except Exception as error:
        with suppress(OSError):  # left to the next sweep: what went wrong before is what the caller has to know
            remove(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk says nothing of the place
        raise
    finally:
        _live.discard(temporary)


def intended(path: str) -> str:
    """A path as the user knows it: a temporary under the name of the file that it was to become."""
    return _TEMPORARY.sub("", path)


def sweep(folder: PathLike) -> None:
    """Removes the temporaries that dead processes left in a folder.

    It never fails: another process may sweep the same ones now, and what cannot be removed hinders nobody.
    """
    place = Path(folder).resolve()
    for path in sorted(place.iterdir()) if place.is_dir() else []:
        match = _TEMPORARY.match(path.name)
        if match and path not in _live:
            with suppress(OSError):
                if _is_abandoned(path, match["host"], int(match["process"])):
                    remove(path)
    _swept.add(place)


def _is_abandoned(path: Path, host: str, process: int) -> bool:
    if host != _HOST:
        return time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def remove(path: Path) -> None:
    """A file, or a folder with all that is in it; of a symbolic link the link alone; nothing when it is not there."""
    if path.is_dir() and not path.is_symlink():
        disk.remove_tree(path)
    elif os.path.lexists(path):
        disk.unlink(path)
