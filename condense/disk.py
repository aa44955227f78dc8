"""The operations that change a disk, and nothing between them and the system.

They are functions of a module, called through it, so that tests let each of them fail in turn.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import IO


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


OPERATIONS = (
    "open_new", "open_append", "write", "fsync", "replace", "truncate", "rename", "mkdir", "unlink", "remove_tree",
    "copy", "link",
)  # fmt: skip
