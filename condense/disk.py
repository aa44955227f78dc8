"""The operations that change a disk, and nothing between them and the system.

They are functions of a module, called through it, so that tests let each of them fail in turn.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


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


def exchange(source: Path, target: Path) -> bool:
    """Gives each of two files or folders the other's name, in one step; False where the system has no such step."""
    swap = _renameat2()
    return swap is not None and swap(_HERE, os.fsencode(source), _HERE, os.fsencode(target), _EXCHANGE) == 0


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """The system's call, which Python has no name for: of Linux, where the C library knows it."""
    if sys.platform != "linux":
        return None
    import ctypes  # here, because help must answer at once

    function = getattr(ctypes.CDLL(None), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function


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


OPERATIONS = (
    "open_new", "open_append", "write", "fsync", "replace", "truncate", "rename", "exchange", "mkdir", "unlink",
    "remove_tree", "copy", "link",
)  # fmt: skip
