"""Plain values out of a file, read as the type that they should have: checked once, where they come in.

As strict as JSON itself: a text is no number and true is no 1; only lists stand for tuples, and whole numbers for
floating-point ones.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from condense.errors import BadInput

KNOWN_ONLY = ConfigDict(extra="forbid")  # `__pydantic_config__` of a dataclass that is read here
_SHOWN = 60  # characters of a value in a message


class Misstated(BadInput):
    """A value of another type or range than what it is read as; the message names the field."""


class Fields(BaseModel):
    """The base of what is read by fields: none is missing, unknown, or of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read(kind: Any, value: Any, name: str = "") -> Any:
    """A value made of mappings, lists, texts and numbers as a model, a dataclass or a type.

    name: of the value in the file, which goes before the names of its fields.

    Raises:
        Misstated: naming the first field that is not what it should be, and what was found.
    """
    try:
        return _adapter(kind).validate_json(json.dumps(value, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, (*([name] if name else []), *first["loc"])))
        reason = first["msg"].removeprefix("Value error, ")
        found = "" if first["type"] in ("missing", "value_error") else f", found {_short(first['input'])}"
        raise Misstated(f"{field}: {reason}{found}" if field else f"{reason}{found}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise Misstated(f"{name or 'the content'} is not made of plain finite values ({error})") from error


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
