"""Faults inside a process: its death, or an error of the system, at a chosen operation."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Any, Literal
from unittest import mock

from condense import disk, temporaries
from condense.run.turns import Turns

Kind = Literal["death at a file operation", "full disk at a file operation", "death at a yield"]
KINDS: tuple[Kind, ...] = ("death at a file operation", "full disk at a file operation", "death at a yield")


class Death(BaseException):
    """Stands for SIGKILL: no handler in the code may catch it."""


class Faults:
    """Counts the points where a fault can happen, and lets it happen at one of them.

    After a death nothing is written any more, as if the process were gone: handlers that run on the way out of the
    test's process do not exist in a killed one.
    """

    def __init__(self, kind: Kind, at: int | None = None):
        self.kind = kind
        self.at = at
        self.count = 0
        self.dead = False

    def point(self) -> bool:
        """Whether the fault happens here."""
        self.count += 1
        return self.at == self.count - 1

    def die(self) -> None:
        self.dead = True
        raise Death

    def around(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """A file operation that may fail; a write fails half done."""

        def operation(*arguments: Any) -> Any:
            if self.dead:
                raise Death
            if self.kind == "death at a yield":
                return original(*arguments)
            happens = self.point()
            if happens and name == "write":
                handle, written = arguments
                original(handle, bytes(written)[: len(bytes(written)) // 2])
                handle.flush()
            if happens and self.kind == "death at a file operation":
                self.die()
            if happens:
                raise OSError(errno.ENOSPC, "No space left on device")
            # Waiting for the disk guards against a loss of power, which is not tested here, and takes most of the time.
            return None if name == "fsync" else original(*arguments)

        return operation

    def at_yields(self, original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The way by which loops, jobs and stores hand out steps; a body can die before and after its work."""

        def take(turns: Turns, name: str, steps: Any) -> Iterator[Any]:
            for item in original(turns, name, steps):
                if self.point():
                    self.die()
                yield item
                if self.point():
                    self.die()

        return take


@contextlib.contextmanager
def injected(faults: Faults) -> Iterator[Faults]:
    """Runs the body as a process of its own, in which the fault happens."""
    with contextlib.ExitStack() as patches:
        # What an earlier process was writing, and which folders it looked through, died with it.
        patches.enter_context(mock.patch.object(temporaries, "_live", set()))
        patches.enter_context(mock.patch.object(temporaries, "_swept", set()))
        for name in disk.OPERATIONS:
            patches.enter_context(mock.patch.object(disk, name, faults.around(name, getattr(disk, name))))
        if faults.kind == "death at a yield":
            patches.enter_context(mock.patch.object(Turns, "take", faults.at_yields(Turns.take)))
        yield faults
