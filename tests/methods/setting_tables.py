"""Tables of published settings as text, and how presets are held to them."""

from __future__ import annotations

from collections.abc import Set
from typing import Any


def rows(text: str) -> list[dict[str, str]]:
    """Cells by column, one mapping for each row."""
    head, *lines = (line.split() for line in text.strip().splitlines())
    return [dict(zip(head, line, strict=True)) for line in lines]


def differences(row: dict[str, str], values: dict[str, Any], names: Set[str]) -> dict[str, tuple[str, Any]]:
    """Columns whose printed value is not the preset's; numbers are compared as numbers.

    names: the columns that say whose row it is; every other one has a value.
    """
    assert set(values) == set(row) - names
    return {name: (row[name], value) for name, value in values.items() if not _same(row[name], value)}


def _same(printed: str, value: Any) -> bool:
    if isinstance(value, bool):
        return printed == ("yes" if value else "no")
    if value is None:
        return printed in ("all", "-", "off")
    return printed == value if isinstance(value, str) else float(printed) == value
