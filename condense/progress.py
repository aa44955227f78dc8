"""Progress on stderr: bars with the time left on a terminal, and a line for each phase that took a while."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from time import monotonic
from typing import Any, TextIO

_REDRAW_SECONDS = 0.1
_WORTH_A_LINE = 1.0  # seconds


class NoProgress:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """A line that stays, such as what comes next or what it will cost."""

    def begin(self, name: str, total: int, done: int = 0) -> None:
        """A phase begins, or goes on after `done` of its `total` steps; phases may lie inside one another."""

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """The innermost phase has done so many steps; `values` are shown beside it until the next ones come."""

    def end(self, note: str | None = None) -> None:
        """The innermost phase ends."""


class Progress(NoProgress):
    """Shows every active phase as a bar on a terminal, and as a single line when it ends.

    A phase that took less than `worth_a_line` seconds and ended as it should leaves no line: a benchmark has hundreds.
    """

    def __init__(self, stream: TextIO | None = None, worth_a_line: float = _WORTH_A_LINE):
        self._stream = stream or sys.stderr
        self._worth_a_line = worth_a_line
        self._live = self._stream.isatty()
        self._bars: Any = None
        self._stack: list[_Shown] = []

    def say(self, line: str) -> None:
        print(f"condense: {line}", file=self._stream)

    def begin(self, name: str, total: int, done: int = 0) -> None:
        shown = _Shown(name, total, done)
        self._stack.append(shown)
        if self._live:
            if self._bars is None:
                self._bars = _bars(self._stream)
                self._bars.start()
            shown.bar = self._bars.add_task(name, total=total, completed=done, values="")

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        shown = self._stack[-1]
        shown.done = done
        if values:
            shown.values = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._live and monotonic() - shown.drawn >= _REDRAW_SECONDS:
            shown.drawn = monotonic()
            self._bars.update(shown.bar, completed=done, values=shown.values)

    def end(self, note: str | None = None) -> None:
        shown = self._stack.pop()
        if self._live:
            self._bars.remove_task(shown.bar)
            if not self._stack:
                self._bars.stop()
                self._bars = None
        seconds = monotonic() - shown.begin
        if seconds < self._worth_a_line and note is None:
            return
        parts = [f"condense: {shown.name}: {shown.done} of {shown.total} in {seconds:.1f} s"]
        parts += [part for part in (shown.values, note) if part]
        line = "; ".join(parts)
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._stream)


class _Shown:
    def __init__(self, name: str, total: int, done: int):
        self.name = name
        self.total = total
        self.done = done
        self.begin = self.drawn = monotonic()
        self.values = ""
        self.bar: Any = None


def _bars(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[values]}"),
        console=Console(file=stream),
        transient=True,
        redirect_stdout=False,  # results go to stdout, and nothing of the bars does
    )
