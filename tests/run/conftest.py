"""A run in a folder of its own, and the exception that stands for the death of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from condense.run import Run


class Killed(BaseException):
    """Not an Exception: nothing in the code may catch it."""


@pytest.fixture
def killed() -> type[Killed]:
    return Killed


@pytest.fixture
def open_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Opens the one run of this test; opening it again is a new process that continues it."""
    opened: list[Run] = []

    def start(name: str = "run", **options: Any) -> Run:
        if opened and opened[-1].directory.name == name:
            opened[-1].close()
        defaults: dict[str, Any] = {"seed": 0, "cache_dir": tmp_path / "cache", "checkpoint_seconds": 0.0}
        opened.append(Run(tmp_path / name, **{**defaults, **options}))
        return opened[-1]

    yield start
    for run in opened:
        run.close()
