"""A data set as it comes out of memory, of the cache, or of an index: pixels, labels, fingerprints, statistics."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from condense.data.pixels import Pixels
from condense.data.statistics import Channels


@dataclass(frozen=True, eq=False)
class StoredPart:
    """One split, before adapters."""

    pixels: Pixels
    labels: Tensor  # int64 (N,)
    fingerprint: str


@dataclass(frozen=True, eq=False)
class Stored:
    """Both splits, before adapters."""

    train: StoredPart
    test: StoredPart
    classes: tuple[str, ...]
    mean: Channels  # of the training pixels
    std: Channels
    resized: bool  # some image had to be scaled or cropped to the shape
