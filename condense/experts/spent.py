"""Seconds that the training of an expert took, beside its file: whoever uses the expert is charged with them."""

from __future__ import annotations

from pathlib import Path

from condense import files
from condense.errors import DamagedFile

SUFFIX = ".seconds"
Span = tuple[int, int, float]  # first epoch, last epoch, seconds between the two


def note(trajectory: Path, start: int, end: int, seconds: float) -> None:
    """Adds what training from epoch `start` to epoch `end` took.  Needs the lock of the expert's file."""
    kept = [span for span in _spans(trajectory) if span[1] <= start]  # anything later was damaged and trained again
    files.write_json(trajectory.with_suffix(SUFFIX), {"spans": [*kept, (start, end, round(seconds, 3))]})


def seconds(trajectory: Path, epochs: int) -> float:
    """What the first `epochs` epochs took as far as that was noted, spread evenly over the epochs of one training."""
    parts = [took * max(0, min(end, epochs) - start) / (end - start) for start, end, took in _spans(trajectory)]
    return sum(parts)


def _spans(trajectory: Path) -> list[Span]:
    path = trajectory.with_suffix(SUFFIX)
    try:
        return [(int(start), int(end), float(took)) for start, end, took in files.read_json(path)["spans"]]
    except (DamagedFile, FileNotFoundError, KeyError, TypeError, ValueError):
        return []  # the expert is as good without it, and nothing but its training could tell the seconds again
