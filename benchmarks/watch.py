"""Seconds and memory of the steps of a loop, measured from inside their process."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from processes import peak_bytes


class Watch:
    """Wall and processor seconds between marks, processor seconds of wrapped calls, and peak memory."""

    def __init__(self) -> None:
        self._wall: list[float] = []
        self._processor: list[float] = []
        self._parts: dict[str, list[float]] = defaultdict(list)
        self._busy = False
        self._held = _resident_bytes()

    def mark(self) -> None:
        self._wall.append(time.perf_counter())
        self._processor.append(time.process_time())

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted for a part of the step; calls inside another timed call are that one's."""

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            if self._busy or len(self._wall) < 2:
                return function(*arguments, **options)
            self._busy = True
            begin = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                self._parts[part].append(time.process_time() - begin)
                self._busy = False

        return call

    def result(self) -> dict[str, Any]:
        """Times of all steps but the first."""
        steps = len(self._wall) - 2
        found: dict[str, Any] = {
            "seconds": [after - before for before, after in itertools.pairwise(self._wall[1:])],
            "cpu": [after - before for before, after in itertools.pairwise(self._processor[1:])],
            "peak_bytes": peak_bytes() - self._held,
        }
        if self._parts:
            found["parts"] = {name: sum(values) / steps for name, values in self._parts.items()}
        return found


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
