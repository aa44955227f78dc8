"""Every byte the project writes goes through here: a reader sees a whole file or none, whatever dies when.

A file is written under a hidden temporary name in its own folder, flushed to the disk and renamed into place. The
names of temporaries say which process made them, so that what a killed process left behind is swept on the next use.
Only `append` writes in place; who uses it recognises a torn end by itself.
The primitive operations are module-level functions (`PRIMITIVES`), so that tests let each of them fail in turn.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from condense.errors import BadInput, DamagedFile
from condense.locks import InUse as InUse
from condense.locks import lock as lock

if TYPE_CHECKING:
    from torch import Tensor

PathLike = str | os.PathLike[str]

_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
_TEMPORARY = re.compile(r"\.tmp-(?P<host>[0-9a-f]{6})-(?P<process>\d+)-[0-9a-f]{8}-")
_ABANDONED_SECONDS = 7 * 86400  # another host's temporary: whether its process lives cannot be seen from here
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_BLOCK = 1 << 20
_live: set[Path] = set()  # temporaries that this process is writing now
_swept: set[Path] = set()  # folders that this process has looked through


# ------------------------------------------------------------------------------------------ primitive operations


def open_new(path: Path) -> IO[bytes]:
    return open(path, "xb")


def open_append(path: Path) -> IO[bytes]:
    return open(path, "ab")


def write(handle: IO[bytes], data: bytes | memoryview) -> None:
    handle.write(data)


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    os.replace(source, target)


def truncate(path: Path, length: int) -> None:
    os.truncate(path, length)


def rename(source: Path, target: Path) -> None:
    os.rename(source, target)


def mkdir(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    shutil.rmtree(path)


def copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def link(source: Path, target: Path) -> None:
    os.link(source, target)


PRIMITIVES = (
    "open_new", "open_append", "write", "fsync", "replace", "truncate", "rename", "mkdir", "unlink", "remove_tree",
    "copy", "link",
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------- writing


def write_bytes(path: PathLike, data: bytes) -> None:
    """Writes a whole file or, when anything fails, leaves what was there."""
    with _temporary_for(Path(path)) as temporary, open_new(temporary) as handle:
        write(handle, data)


def write_text(path: PathLike, text: str) -> None:
    """Like `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: PathLike, value: Any) -> None:
    """Sorted keys and one-space indents, so that equal values are equal bytes and differences read line by line.

    Raises:
        ValueError: for a number that is not finite, which JSON cannot hold.
    """
    write_text(path, json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_tensors(path: PathLike, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes named tensors as safetensors, one at a time; equal tensors and metadata give equal bytes.

    Raises:
        BadInput: for a dtype that the format does not know.
    """
    from condense.tensor_format import encode

    with _temporary_for(Path(path)) as temporary, open_new(temporary) as handle:
        for part in encode(path, tensors, metadata):
            write(handle, part)


def append(path: PathLike, parts: Iterable[bytes | memoryview]) -> None:
    """Adds bytes at the end of a file, which is made where it is absent, and waits for the disk.

    Not atomic: a process that dies in here leaves a torn end, which the file's format must let its reader recognise.
    """
    place = Path(path)
    if not place.parent.is_dir():
        mkdir(place.parent)
    with open_append(place) as handle:
        for part in parts:
            write(handle, part)
    fsync(place)


def cut(path: PathLike, length: int) -> None:
    """Removes what stands behind the first `length` bytes of a file: the torn end that `append` may leave."""
    truncate(Path(path), length)
    fsync(Path(path))


def discard(path: PathLike) -> None:
    """Removes a file or a folder with all that is in it; nothing when it is not there."""
    _remove(Path(path))


def safe_name(name: str) -> str:
    """A name as a part of a path: what a shell or a file system could read otherwise becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9.@+-]+", "_", name).strip("_.") or "_"


def copy_file(source: PathLike, target: PathLike) -> None:
    """Copies a file's content; the target appears whole or not at all."""
    with _temporary_for(Path(target)) as temporary:
        copy(Path(source), temporary)


def link_file(source: PathLike, target: PathLike) -> None:
    """Gives a file that is never written in place another name, or copies it where the disk has no such names.

    The target appears whole or not at all.
    """
    if Path(target).exists() and Path(target).samefile(source):
        return  # to replace a name by another one of the same file does nothing, and leaves the other behind
    with _temporary_for(Path(target)) as temporary:
        try:
            link(Path(source), temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            copy(Path(source), temporary)


def require_replaceable(target: Path, replace_existing: bool) -> None:
    """Refuses, with BadInput, a target that is a file, or a folder with content that is not to be replaced."""
    if target.exists() and not target.is_dir():
        raise BadInput(f"{target} is a file where a folder should be written; choose another place")
    if target.is_dir() and any(target.iterdir()) and not replace_existing:
        raise BadInput(f"{target} exists and is not empty; remove it or choose another place")


@contextmanager
def staged_directory(target: PathLike, *, replace_existing: bool = False) -> Iterator[Path]:
    """Yields a hidden sibling folder to fill; at success it becomes `target`, at failure it is removed.

    Raises:
        BadInput: when `target` exists as a file, or as a folder with content unless `replace_existing`.
    """
    final = Path(target)
    require_replaceable(final, replace_existing)
    with _named_temporary(final) as temporary:
        mkdir(temporary)
        yield temporary
        require_replaceable(final, replace_existing)
        if final.is_dir() and any(final.iterdir()):
            # Two renames are not one: killed in between, the target is absent, never half of each.
            with _named_temporary(final) as old:
                rename(final, old)
                rename(temporary, final)
                remove_tree(old)
        else:
            rename(temporary, final)


@contextmanager
def _temporary_for(path: Path) -> Iterator[Path]:
    with _named_temporary(path) as temporary:
        yield temporary
        fsync(temporary)
        replace(temporary, path)


@contextmanager
def _named_temporary(path: Path) -> Iterator[Path]:
    if not path.parent.is_dir():
        mkdir(path.parent)
    folder = path.parent.resolve()
    if folder not in _swept:
        sweep(folder)
    # A long name of its own must not push the temporary beyond the 255 bytes of a file name.
    temporary = folder / f".tmp-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}-{path.name[:60]}"
    _live.add(temporary)
    try:
        yield temporary
    except Exception as error:
        _remove(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk says nothing of the place
        raise
    finally:
        _live.discard(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        remove_tree(path)
    elif path.exists():
        unlink(path)


def intended(path: str) -> str:
    """A path as the user knows it: a temporary under the name of the file that it was to become."""
    return _TEMPORARY.sub("", path)


def sweep(folder: PathLike) -> None:
    """Removes the temporaries that dead processes left in a folder."""
    place = Path(folder).resolve()
    for path in sorted(place.iterdir()) if place.is_dir() else []:
        match = _TEMPORARY.match(path.name)
        if match and path not in _live and _is_abandoned(path, match["host"], int(match["process"])):
            _remove(path)
    _swept.add(place)


def _is_abandoned(path: Path, host: str, process: int) -> bool:
    if host != _HOST:
        import time

        return time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


# ------------------------------------------------------------------------------------------------------- reading


def read_json(path: PathLike) -> Any:
    """Parses a JSON file.

    Raises:
        DamagedFile: when it is not JSON in UTF-8.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise DamagedFile(path, f"not JSON: {error}") from error


def read_tensors(path: PathLike, device: str = "cpu") -> dict[str, Tensor]:
    """Loads all tensors of a safetensors file into memory of their own.

    Raises:
        DamagedFile: when the file is truncated or of another format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _require_file(path)
    try:
        loaded = load_file(path, device=device)
    except (SafetensorError, ValueError) as error:
        raise DamagedFile(path, str(error)) from error
    # The library maps the file: without a copy, tensors would change with it, and a truncation would kill the process.
    return {name: tensor.clone() for name, tensor in loaded.items()}


def read_metadata(path: PathLike) -> dict[str, str]:
    """The metadata of a safetensors file, without loading its tensors.

    Raises:
        DamagedFile: when the file is truncated or of another format.
    """
    from safetensors import SafetensorError, safe_open

    _require_file(path)
    try:
        with safe_open(path, framework="pt") as handle:
            return dict(handle.metadata() or {})
    except (SafetensorError, ValueError) as error:
        raise DamagedFile(path, str(error)) from error


def _require_file(path: PathLike) -> None:
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder where a file was expected")
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist")


def sha256(path: PathLike) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits, in flat memory."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
