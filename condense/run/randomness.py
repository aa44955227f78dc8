"""Generators derived from (seed, name, numbers): nothing to save, and the same draws on every device."""

from __future__ import annotations

import torch

from condense.errors import BadInput
from condense.identity import digest


def derived_seed(*parts: str | int) -> int:
    """A seed in [0, 2^63) that depends on every part and on their order."""
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, str | int):
            raise BadInput(f"randomness is derived from names and whole numbers, got {part!r} in {parts}")
    return int(digest(list(parts))[:16], 16) >> 1


def generator(*parts: str | int) -> torch.Generator:
    """A fresh CPU generator for these parts."""
    return torch.Generator().manual_seed(derived_seed(*parts))
