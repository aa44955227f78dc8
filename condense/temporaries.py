"""Temporaries: hidden siblings in which a file or folder grows before it gets its name.

Their names say which process made them, so that what a killed process left behind is swept on the next use: a `.tmp-`
is removed, and what lies in an `.old-` gets its name back, if nothing else has it.
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
_TEMPORARY = re.compile(r"\.(?P<kind>tmp|old)-(?P<host>[0-9a-f]{6})-(?P<process>\d+)-[0-9a-f]{8}(-|/|$)")
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
    _ready(final.parent)  # first, because it may bring an old folder back
    require_replaceable(final, replace_existing)
    with _named(final) as temporary:
        disk.mkdir(temporary)
        yield temporary
        require_replaceable(final, replace_existing)
        if not (final.is_dir() and any(final.iterdir())):
            disk.rename(temporary, final)
        elif disk.exchange(temporary, final):
            with suppress(OSError):  # the new folder is in place; a sweep removes what is left of the old one
                remove(temporary)
        else:
            _replace_in_turn(temporary, final)


def _replace_in_turn(temporary: Path, final: Path) -> None:
    """Two renames: in between the target is absent, and the old folder in a place from which a sweep puts it back."""
    aside = final.parent / f".old-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}"
    _live.add(aside)
    try:
        disk.mkdir(aside)
        disk.rename(final, aside / final.name)
        disk.rename(temporary, final)
    finally:
        with suppress(OSError):
            _put_back(aside)
        _live.discard(aside)


def _put_back(aside: Path) -> None:
    """Gives what was put aside its name again, unless something new has it, and removes what is left."""
    for old in aside.iterdir():
        name = aside.parent / old.name
        if not os.path.lexists(name):
            disk.rename(old, name)
    # Under a name that a sweep only removes: what is half removed must not come back.
    unwanted = aside.with_name(aside.name.replace(".old-", ".tmp-", 1))
    disk.rename(aside, unwanted)
    remove(unwanted)


def _resolved(path: PathLike) -> Path:
    """Where symbolic links lead to; one that leads back to itself stays."""
    return Path(os.path.realpath(path))


@contextmanager
def _named(path: Path) -> Iterator[Path]:
    folder = _ready(path.parent)
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


def _ready(folder: Path) -> Path:
    """Makes a folder where it is absent, and sweeps it once; its resolved path."""
    if not folder.is_dir():
        disk.mkdir(folder)
    place = folder.resolve()
    if place not in _swept:
        sweep(place)
    return place


def intended(path: str) -> str:
    """A path as the user knows it: a temporary under the name of the file that it was to become."""
    return _TEMPORARY.sub("", path)


def sweep(folder: PathLike) -> None:
    """Removes the temporaries that dead processes left in a folder, and puts back the folders that they put aside.

    It never fails: another process may sweep the same ones now, and what cannot be removed hinders nobody.
    """
    place = Path(folder).resolve()
    for path in sorted(place.iterdir()) if place.is_dir() else []:
        match = _TEMPORARY.match(path.name)
        if match and path not in _live:
            with suppress(OSError):
                if _is_abandoned(path, match["host"], int(match["process"])):
                    (_put_back if match["kind"] == "old" else remove)(path)
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
