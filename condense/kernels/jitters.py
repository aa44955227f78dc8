"""Telling of jitters: a regressor whose diagonal was raised is not quite the one that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from condense.run import Run


class Jitters:
    """Counts the solves of a run that needed a jitter, says the first one, and flags them in the set that is made.

    Given to `ridge_weights` or `dual_weights` it is called with each jitter, a number that is on the CPU already. As a
    part of the loop's state it counts on in a run that is continued.
    """

    def __init__(self, run: Run):
        self._run = run
        self._count = 0

    def __call__(self, jitter: float) -> None:
        if self._count == 0:
            self._run.progress.say(
                f"warning: rounding left a Gram matrix indefinite, and {jitter:.1e} was added to its diagonal beside "
                "the ridge; further such solves are counted in the set's flags. A larger ridge avoids them, or "
                "gram=float64 where a method has it"
            )
        self._count += 1

    def provenance(self) -> dict[str, Any]:
        """The flag of the set; nothing where every matrix was definite, so that such a set keeps its name."""
        return {"flags": {"jittered_solves": self._count}} if self._count else {}

    def state_dict(self) -> dict[str, int]:
        return {"count": self._count}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Takes back what `state_dict` gave."""
        self._count = state["count"]
