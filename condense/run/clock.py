"""Seconds of work over all processes that continued a run, the budget for them, and what shared values took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from condense import files
from condense.errors import BadInput, DamagedFile


class Clock:
    """Runs from its making on.

    A value that runs share costs each of them the seconds of its building, whoever built it: otherwise the first run
    to ask would look slow, and all others would look as if the value were for nothing.
    """

    outer: Clock | None = None  # of the run that this clock's run is a part of

    def __init__(self, path: Path, budget: float | None):
        if budget is not None and budget <= 0:
            raise BadInput(f"a time budget is a positive number of seconds, got {budget!r}")
        self._path = path
        self.budget = budget
        found = _read(path) if path.is_file() else {}
        self._before = float(found.get("seconds", 0.0))
        self._waited = float(found.get("waited", 0.0))  # for shared values
        self.shared: dict[str, float] = dict(found.get("shared", {}))  # shared value -> seconds of its building
        self._begin = monotonic()

    @property
    def elapsed(self) -> float:
        return self._before + monotonic() - self._begin

    @property
    def own(self) -> float:
        """Seconds but for those that building, or waiting for, shared values took."""
        return max(self.elapsed - self._waited, 0.0)

    @property
    def used_up(self) -> float | None:
        """The budget that is used up, of this run or of the one around it, in seconds; None while there is time."""
        if self.budget is not None and self.elapsed >= self.budget:
            return self.budget
        return None if self.outer is None else self.outer.used_up

    def share(self, seconds: Mapping[str, float], waited: float) -> None:
        """Notes what the shared values took whose coming took this run `waited` seconds."""
        self.shared |= seconds
        self._waited += waited
        if self.outer is not None:
            self.outer.share(seconds, waited)

    def save(self) -> None:
        facts = {"seconds": round(self.elapsed, 3), "waited": round(self._waited, 3), "shared": self.shared}
        files.write_json(self._path, facts)


def _read(path: Path) -> dict[str, Any]:
    found = files.read_json(path)
    try:
        float(found["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, f"not a number of seconds: {error!r}") from error
    return dict(found)
