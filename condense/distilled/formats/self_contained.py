"""A set's own layout with the whitening matrices inside: usable without a cache or the training split."""

from __future__ import annotations

from pathlib import Path

from condense.distilled.container import DistilledSet
from condense.distilled.storage import save

SUMMARY = "a saved set with its whitening matrices; load it as any other"


def write(distilled: DistilledSet, target: Path) -> list[str]:
    """Saves the set; its identity stays what it was."""
    save(distilled, target, self_contained=True, replace_existing=True)
    if distilled.source is not None:
        return ["the set is a selection: it holds positions in the training split, not the images"]
    return []
