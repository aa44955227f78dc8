"""Every byte the project writes goes through here: a reader sees a whole file or none, whatever dies when.

A file is written under a hidden temporary name in its own folder, flushed to the disk and renamed into place. Only
`append` writes in place; who uses it recognises a torn end by itself.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condense import disk
from condense.errors import DamagedFile
from condense.locks import InUse as InUse
from condense.locks import lock as lock
from condense.temporaries import PathLike as PathLike
from condense.temporaries import intended as intended
from condense.temporaries import remove, staged_file
from condense.temporaries import require_replaceable as require_replaceable
from condense.temporaries import staged_directory as staged_directory
from condense.temporaries import sweep as sweep

if TYPE_CHECKING:
    from torch import Tensor

_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_BLOCK = 1 << 20


# ------------------------------------------------------------------------------------------------------- writing


def write_bytes(path: PathLike, data: bytes) -> None:
    """Writes a whole file or, when anything fails, leaves what was there."""
    with staged_file(Path(path)) as temporary, disk.open_new(temporary) as handle:
        disk.write(handle, data)


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

    with staged_file(Path(path)) as temporary, disk.open_new(temporary) as handle:
        for part in encode(path, tensors, metadata):
            disk.write(handle, part)


def append(path: PathLike, parts: Iterable[bytes | memoryview]) -> None:
    """Adds bytes at the end of a file, which is made where it is absent, and waits for the disk.

    Not atomic: a process that dies in here leaves a torn end, which the file's format must let its reader recognise.
    """
    place = Path(path)
    if not place.parent.is_dir():
        disk.mkdir(place.parent)
    with disk.open_append(place) as handle:
        for part in parts:
            disk.write(handle, part)
    disk.fsync(place)


def cut(path: PathLike, length: int) -> None:
    """Removes what stands behind the first `length` bytes of a file: the torn end that `append` may leave."""
    disk.truncate(Path(path), length)
    disk.fsync(Path(path))


def discard(path: PathLike) -> None:
    """Removes a file or a folder with all that is in it; nothing when it is not there."""
    remove(Path(path))


def safe_name(name: str) -> str:
    """A name as a part of a path: what a shell or a file system could read otherwise becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9.@+-]+", "_", name).strip("_.") or "_"


def copy_file(source: PathLike, target: PathLike) -> None:
    """Copies a file's content; the target appears whole or not at all."""
    with staged_file(Path(target)) as temporary:
        disk.copy(Path(source), temporary)


def link_file(source: PathLike, target: PathLike) -> None:
    """Gives a file that is never written in place another name, or copies it where the disk has no such names.

    The target appears whole or not at all.
    """
    if Path(target).exists() and Path(target).samefile(source):
        return  # to replace a name by another one of the same file does nothing, and leaves the other behind
    with staged_file(Path(target)) as temporary:
        try:
            disk.link(Path(source), temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            disk.copy(Path(source), temporary)


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
