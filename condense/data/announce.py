"""One line on stderr for a long pass over images: rewritten on a terminal, written once elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def announced(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Says that `total` images are gone through; yields a function to call with the number just done."""
    live = sys.stderr.isatty()
    done = 0
    shown = -1

    def advance(count: int) -> None:
        nonlocal done, shown
        done += count
        percent = 100 * done // total
        if live and percent != shown:
            shown = percent
            print(f"\rcondense: {what}, {percent} %", end="", file=sys.stderr, flush=True)

    if not live:
        print(f"condense: {what}, {total} images", file=sys.stderr)
    try:
        yield advance
    finally:
        if live:
            print(file=sys.stderr)
