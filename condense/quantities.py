"""Bytes and seconds in words, the same in tables, cards and on the terminal."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes in decimal units with three digits: "123 kB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def duration(seconds: float) -> str:
    """Milliseconds, seconds, minutes or hours, whichever reads best."""
    if 5e-5 <= seconds < 0.0995:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 90:
        return f"{round(seconds, 4):.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 5400 else f"{seconds / 3600:.3g} h"
