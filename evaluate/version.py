"""Which judge, and which code, a number comes from."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

JUDGE = 1  # raise it whenever the golden test in tests/evaluate moves: numbers of two versions are not comparable
TRANSFER = 3  # the same for the transfer judge; 3 probes every start with batch statistics of the target's images


@functools.cache
def commit() -> str | None:
    """The commit of the checkout this code runs from; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
