"""The loops, jobs and stores of a run take turns: each has a name of its own, one is active at a time, none is left."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Any

from condense.errors import BadInput


class Turns:
    """Who is active in one run.

    active: the name of what hands out steps now, or None.
    """

    def __init__(self) -> None:
        self.active: str | None = None
        self._names: set[str] = set()
        self._abandoned: str | None = None
        self._steps: Generator[Any, None, None] | None = None  # of what is active

    def claim(self, name: str) -> None:
        """Gives a name to something new.

        Raises:
            BadInput: for a name used twice, or one that cannot name a file; or when something was left before its end.
        """
        self.require_unbroken()
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise BadInput(f"{name!r} cannot name a phase: use letters, digits, dots, dashes and underscores")
        if name in self._names:
            raise BadInput(
                f"the name {name!r} is used twice in one run; phases, jobs and stores need names of their own"
            )
        self._names.add(name)

    def take(self, name: str, steps: Generator[Any, None, None]) -> Iterator[Any]:
        """Passes on the steps of the one thing that may be active at a time.

        Raises:
            BadInput: when something else is active, or was left before its end.
        """
        self.require_unbroken()
        if self.active is not None:
            raise BadInput(
                f"{name!r} begins inside {self.active!r}: a run has one active loop; "
                "use job.run, or run.cached, for work with loops of its own"
            )
        self.active, self._steps = name, steps
        ended = False
        try:
            yield from steps
            ended = True
        finally:
            self.active, self._steps = None, None
            if not ended:
                self._abandoned = name

    def require_unbroken(self) -> None:
        """Raises BadInput when something was left before its end."""
        if self._abandoned is not None:
            raise BadInput(f"the loop {self._abandoned!r} was left with break or return; end it with run.stop(reason)")

    def close(self) -> None:
        """Ends what is active."""
        if self._steps is not None:
            # An error in the body of a loop keeps the loop alive, with its locks, as long as its traceback.
            self._steps.close()
