"""The grammar of data set names: a base, then class subset, colour and size.

    cifar10[0-4]   cifar10[0,3,5]   cifar10[cat,dog]   digits+rgb   mnist@32   folder[0-9]+rgb@32x48

Adapters may be written in any order; the canonical order is the one above, because they commute: classes are kept in
the order of the whole set, repeating a grey channel and resizing act on different axes. Size is height x width.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from condense.errors import BadInput, UnknownName

_ADAPTER = re.compile(r"\[(?P<classes>[^\[\]]*)\]|\+(?P<flag>\w+)|@(?P<size>[\w.-]*)")
_NAME = re.compile(rf"(?P<base>.*?)(?P<adapters>(?:{re.sub(r'[?]P<[a-z]+>', '?:', _ADAPTER.pattern)})*)")
_SIZE = re.compile(r"([1-9]\d*)(?:x([1-9]\d*))?")
_LARGEST_SIDE = 2**14  # pixels; a mistake rather than a wish beyond
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class Request:
    """A name taken apart."""

    base: str
    classes: tuple[str, ...] | None = None  # as written: "3", "0-4", "cat"
    colour: bool = False  # grey images get their channel three times
    size: tuple[int, int] | None = None  # height, width


def parse(name: str) -> Request:
    """Takes a name apart. The base may be a path; a path that exists as it is written, as "sets/faces@2x", is whole.

    Raises:
        BadInput: for an adapter that does not exist, is malformed, or stands twice.
    """
    match = _NAME.fullmatch(name)
    if match is None or not match["base"]:
        raise BadInput(f"{name!r} is not a data set name; write for example digits, cifar10[0-4] or mnist+rgb@32")
    base, adapters = match["base"], match["adapters"]
    if os.sep in name:
        ends = [adapter.end() for adapter in _ADAPTER.finditer(adapters)]
        folders = [end for end in ends if Path(base + adapters[:end]).expanduser().exists()]
        if folders:
            base, adapters = base + adapters[: folders[-1]], adapters[folders[-1] :]
    classes: tuple[str, ...] | None = None
    colour = False
    size = None
    for adapter in _ADAPTER.finditer(adapters):
        text = adapter[0]
        if (text[0] == "[" and classes is not None) or (text[0] == "+" and colour) or (text[0] == "@" and size):
            raise BadInput(f"{name!r} has two adapters of the kind {text[0]!r}; keep one")
        if adapter["classes"] is not None:
            classes = tuple(part.strip() for part in adapter["classes"].split(","))
        elif adapter["flag"] is not None:
            if adapter["flag"] != "rgb":
                raise UnknownName("adapter", f"+{adapter['flag']}", ["+rgb"])
            colour = True
        else:
            size = _size(adapter["size"], name)
    return Request(base, classes, colour, size)


def canonical(base: str, classes: Sequence[int] | None, colour: bool, size: tuple[int, int] | None) -> str:
    """The one name of a data set: adapters in fixed order, runs of class indices as ranges, a square as one number."""
    text = base
    if classes is not None:
        text += f"[{','.join(_runs(classes))}]"
    if colour:
        text += "+rgb"
    if size is not None:
        height, width = size
        text += f"@{height}" if height == width else f"@{height}x{width}"
    return text


def class_indices(wanted: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    """Ascending indices of the classes written as an index, a range of indices or a name.

    Raises:
        BadInput: for an index out of range, a class that stands twice, or nothing at all.
        UnknownName: for a name that no class has.
    """
    chosen: list[int] = []
    for part in wanted:
        # A class may be called "7": digits written in brackets always mean the index.
        match = _RANGE.fullmatch(part)
        if match:
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first or last >= len(classes):
                bounds = f"0 to {len(classes) - 1}"
                raise BadInput(f"classes [{part}]: indices must rise and lie in {bounds}; write [0-4] or [0,3]")
            chosen += range(first, last + 1)
        elif part in classes:
            chosen.append(classes.index(part))
        elif part:
            raise UnknownName("class", part, classes)
        else:
            raise BadInput("a class subset has an empty place; write [0-4], [0,3,5] or [cat,dog]")
    repeated = [index for index in chosen if chosen.count(index) > 1]
    if repeated:
        raise BadInput(f"class {repeated[0]} ({classes[repeated[0]]}) stands twice in the subset; name each class once")
    return tuple(sorted(chosen))


def _size(text: str, name: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadInput(f"{name!r}: the size after @ is pixels, got {text!r}; write @32, or @32x48 for height x width")
    height, width = int(match[1]), int(match[2] or match[1])
    if max(height, width) > _LARGEST_SIDE:
        raise BadInput(f"{name!r}: the size after @ is pixels, at most {_LARGEST_SIDE}, got {text}")
    return height, width


def _runs(indices: Sequence[int]) -> list[str]:
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
