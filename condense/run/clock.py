"""Seconds of work over all processes that continued a run, and the budget for them."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from condense import files
from condense.errors import BadInput, DamagedFile


class Clock:
    def __init__(self, path: Path, budget: float | None):
        if budget is not None and budget <= 0:
            raise BadInput(f"a time budget is a positive number of seconds, got {budget!r}")
        self._path = path
        self.budget = budget
        self._before = _read(path) if path.is_file() else 0.0
        self._begin = monotonic()

    @property
    def elapsed(self) -> float:
        return self._before + monotonic() - self._begin

    @property
    def exhausted(self) -> bool:
        return self.budget is not None and self.elapsed >= self.budget

    def save(self) -> None:
        files.write_json(self._path, {"seconds": round(self.elapsed, 3)})


def _read(path: Path) -> float:
    try:
        return float(files.read_json(path)["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, f"not a number of seconds: {error!r}") from error
