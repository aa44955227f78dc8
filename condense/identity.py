"""Content identity: one canonical byte form for plain values, and its SHA-256."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any


def canonical(value: Any) -> bytes:
    """The one JSON text of a plain value: sorted keys, no spaces, floats in shortest exact form.

    Accepts None, booleans, numbers, strings, lists, tuples, mappings with string keys, and dataclasses of these.

    Raises:
        TypeError: for anything else, so that an object's memory address can never leak into an identity.
        ValueError: for a number that is not finite.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 of `canonical(value)`, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        if strange := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"an identity needs string keys, found {strange[0]!r}")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"an identity is made of plain values, found {type(value).__name__}")
