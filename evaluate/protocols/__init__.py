"""The protocols that ship with the package: `names()`, `load(name)`. One JSON file per version, never edited."""

from __future__ import annotations

from condense.evaluate.protocol import Protocol, load, names

__all__ = ["Protocol", "load", "names"]
