"""The version of the judge."""

from __future__ import annotations

JUDGE = 1  # raise it whenever the golden test in tests/evaluate moves: numbers of two versions are not comparable
