"""Encoded images to uint8 arrays of one shape, in a few threads, and on demand where a set is too large to cache."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from condense.data.pixels import Pixels
from condense.data.sources import Contents, Encoded, Part, content
from condense.errors import BadInput, CondenseError, Unreadable

CHUNK = 1024  # images decoded between two writes; 3 MB of CIFAR, 200 MB of 256x256 colour images
_THREADS = min(4, os.cpu_count() or 1)  # decoding releases the interpreter lock, fetching does not
_GREY = {"1", "L", "LA"}
_DEEP = {"I", "F", "I;16", "I;16L", "I;16B", "I;16N"}  # more than 8 bits: converting would clip, not scale

# What Pillow raises on broken files; a type where a header holds a number of another kind.
FAILURES = (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Form:
    """What every decoded image becomes."""

    shape: tuple[int, int, int]  # (C, H, W)
    fit: bool  # other sizes are scaled and cropped to (H, W); else they are an error


def form_of(contents: Contents, size: tuple[int, int] | None) -> Form:
    """One channel when every training image is grey, else three; the given size, or that of the first image."""
    grey = all(_is_grey(encoded, describe) for encoded, describe in _each(contents.train))
    if size is not None:
        return Form((1 if grey else 3, *size), fit=True)
    first = _opened(contents.train.fetch([0])[0], partial(contents.train.describe, 0))
    return Form((1 if grey else 3, first.height, first.width), fit=False)


def _each(part: Part) -> Iterator[tuple[Encoded, Callable[[], str]]]:
    for start in range(0, len(part.labels), CHUNK):
        rows = range(start, min(start + CHUNK, len(part.labels)))
        for row, encoded in zip(rows, part.fetch(rows), strict=True):
            yield encoded, partial(part.describe, row)


@dataclass(frozen=True, eq=False)
class Chunk:
    """Decoded images (B, C, H, W), and whether one of them was scaled or cropped."""

    images: NDArray[np.uint8]
    resized: bool


def chunks(part: Part, form: Form) -> Iterator[Chunk]:
    """All images in order, `CHUNK` at a time."""
    count = len(part.labels)
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, count, CHUNK):
            yield _decode(part, range(start, min(start + CHUNK, count)), form, pool)


@dataclass(frozen=True, eq=False)
class DecodedPixels:
    """Images decoded whenever they are asked for."""

    part: Part
    form: Form
    device: torch.device

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.form.shape

    def __len__(self) -> int:
        return len(self.part.labels)

    def take(self, indices: Tensor) -> Tensor:
        rows = indices.tolist()
        # Sources are read in ascending order, each image once: a row group of a Parquet file holds many images.
        unique = sorted(set(rows))
        with ThreadPoolExecutor(_THREADS) as pool:
            images = torch.from_numpy(_decode(self.part, unique, self.form, pool).images)
        place = {row: position for position, row in enumerate(unique)}
        return images[torch.tensor([place[row] for row in rows], dtype=torch.int64)].to(self.device)

    def to(self, device: torch.device) -> Pixels:
        return replace(self, device=device)


def _decode(part: Part, rows: Sequence[int], form: Form, pool: ThreadPoolExecutor) -> Chunk:
    encoded = part.fetch(rows)
    images = np.empty((len(rows), *form.shape), dtype=np.uint8)

    def decode(positions: range) -> bool:
        resized = False
        for position in positions:
            describe = partial(part.describe, rows[position])
            images[position], changed = _pixels(encoded[position], form, describe)
            resized |= changed
        return resized

    step = max(1, -(-len(rows) // (4 * _THREADS)))
    parts = [range(start, min(start + step, len(rows))) for start in range(0, len(rows), step)]
    return Chunk(images, any(list(pool.map(decode, parts))))


def _pixels(encoded: Encoded, form: Form, describe: Callable[[], str]) -> tuple[NDArray[np.uint8], bool]:
    channels, height, width = form.shape
    image = _opened(encoded, describe)
    if channels == 1 and image.mode not in _GREY:
        raise BadInput(f"{describe()} is in colour and the training images are grey; make them all grey or all colour")
    try:
        image = image.convert("L" if channels == 1 else "RGB")
    except FAILURES as error:
        raise _undecodable(describe(), error) from error
    resized = image.size != (width, height)
    if resized and not form.fit:
        sizes = f"is {image.height}x{image.width} and the first image {height}x{width}"
        raise BadInput(f"{describe()} {sizes}; add a size to the data set's name, as in @{height}")
    if resized:
        # Pillow works in integers, so the result is the same on every machine; it averages when it shrinks.
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[None] if channels == 1 else array.transpose(2, 0, 1), resized


def _opened(encoded: Encoded, describe: Callable[[], str]) -> Image.Image:
    if isinstance(encoded, np.ndarray):
        return Image.fromarray(encoded)
    try:
        # Files are read whole, since Pillow keeps one open until its pixels are asked for.
        image = encoded if isinstance(encoded, Image.Image) else Image.open(io.BytesIO(content(encoded)))
    except FAILURES as error:
        raise _undecodable(describe(), error) from error
    if image.mode in _DEEP:
        raise BadInput(f"{describe()} has more than 8 bits a channel (mode {image.mode}); convert it to 8 bits")
    return image


def _is_grey(encoded: Encoded, describe: Callable[[], str]) -> bool:
    return encoded.ndim == 2 if isinstance(encoded, np.ndarray) else _opened(encoded, describe).mode in _GREY


def _undecodable(name: str, error: Exception) -> CondenseError:
    if isinstance(error, OSError) and error.errno is not None:
        return Unreadable(name, error)  # Pillow's own errors of this kind have no number
    reason = "not an image that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
    return BadInput(f"{name} cannot be decoded ({reason}); restore it, or remove it from the set")
