"""What a source of images hands over: encoded images by index, labels, class names, and what identifies its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Bytes of an image file, its path, an opened image, or pixels (H, W) or (H, W, 3).
Encoded = bytes | Path | Image.Image | NDArray[np.uint8]


def content(encoded: Encoded) -> bytes:
    """The bytes that an encoded image consists of; a file is read whole."""
    if isinstance(encoded, bytes):
        return encoded
    return encoded.read_bytes() if isinstance(encoded, Path) else encoded.tobytes()


@dataclass(frozen=True, eq=False)
class Part:
    """One split as its source holds it."""

    labels: NDArray[np.int64]  # (N,)
    fetch: Callable[[Sequence[int]], list[Encoded]]
    describe: Callable[[int], str]  # names one image in an error

    def select(self, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> Part:
        """The images at `rows` under new labels."""
        return replace(
            self,
            labels=labels,
            fetch=lambda indices: self.fetch([int(rows[index]) for index in indices]),
            describe=lambda index: self.describe(int(rows[index])),
        )


@dataclass(frozen=True, eq=False)
class Contents:
    """Both splits of a source; labels lie in [0, len(classes))."""

    train: Part
    test: Part
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Source:
    """A place with images, not yet read.

    `key` changes whenever the files do and is cheap to find; None says that reading is cheaper than caching.
    """

    name: str
    key: Mapping[str, Any] | None
    read: Callable[[], Contents]


def array_part(images: NDArray[np.uint8], labels: NDArray[np.int64], name: str) -> Part:
    """A part that is an array already: images (N, H, W) or (N, H, W, 3)."""
    return Part(labels, lambda indices: [images[index] for index in indices], lambda index: f"image {index} of {name}")


def file_facts(paths: Sequence[Path], base: Path) -> list[list[str | int]]:
    """[relative path, bytes, nanoseconds of the last change] of each file: what a cache is keyed by."""
    facts: list[list[str | int]] = []
    for path in paths:
        state = path.stat()
        facts.append([path.relative_to(base).as_posix(), state.st_size, state.st_mtime_ns])
    return facts
