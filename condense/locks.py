"""Locks between processes, freed by the system when their holder dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from condense.errors import BadInput


class InUse(BadInput):
    """A place that another process works in now."""


@contextmanager
def lock(path: str | os.PathLike[str], timeout: float | None = None) -> Iterator[None]:
    """Holds `<path>.lock` against other processes.

    Args:
        timeout: seconds to wait, 0 for not at all, None for as long as it takes.

    Raises:
        InUse: when another process still holds it after `timeout`.
    """
    from filelock import FileLock, Timeout

    name = Path(f"{os.fspath(path)}.lock")
    name.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(name)
    try:
        held.acquire(timeout=-1 if timeout is None else timeout)
    except Timeout:
        raise InUse(f"{path} is in use by another process; wait until that ends, or choose another place") from None
    try:
        yield
    finally:
        held.release()
