"""The errors a user can meet, each saying what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from os import PathLike


class CondenseError(Exception):
    """Anything a user can mend; the command line prints it on one line and exits with code 2."""


class BadInput(CondenseError, ValueError):
    """An argument, a file or a data set that cannot be used as given."""


class Unsuitable(BadInput):
    """A budget or a data set that one method cannot work with and others can; a grid over methods leaves it out."""


class UnknownName(BadInput):
    """A name that is not in a registry; the message offers the nearest known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        listed = sorted(known)
        near = nearest(name, listed)
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        elif listed:
            hint = f"known: {', '.join(listed)}"
        else:
            hint = "none is installed"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class DamagedFile(CondenseError):
    """A file whose content is not what was written: truncated, tampered with, or of another format."""

    def __init__(
        self, path: str | PathLike[str], reason: str, remedy: str = "restore it from a copy or produce it again"
    ):
        super().__init__(f"{path}: damaged file ({reason}); {remedy}")
        self.reason = reason


class Unreadable(CondenseError):
    """A file that the system failed to read, whatever its content; no bad input, since asked again it may be read."""

    def __init__(self, name: str | PathLike[str], error: OSError):
        reason = error.strerror or str(error)
        super().__init__(f"{name} cannot be read ({reason}); see to its place, then run the same command again")


class Diverged(CondenseError):
    """A computation that left the finite numbers; recorded as a failed cell, and the grid goes on."""


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known names most like `name`, best first."""
    lowered = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), lowered, n=limit, cutoff=0.6)
    return [lowered[match] for match in matches]
