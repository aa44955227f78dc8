"""What makes two splits the same: SHA-256 over shape, class names, labels and decoded pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from condense.identity import canonical


class Fingerprint:
    """Accumulates the pixels of a split in order, chunk by chunk; labels and classes are known beforehand.

    The container does not enter: the same images in the same order have one fingerprint, be they read from Parquet,
    from a folder or from memory. The order does, because selections are stored as indices.
    """

    def __init__(self, labels: NDArray[np.int64], classes: Sequence[str], shape: Sequence[int], of: str = "pixels"):
        header = {"of": of, "images": len(labels), "shape": list(shape), "classes": list(classes)}
        self._hash = hashlib.sha256(canonical(header))
        self._hash.update(labels.astype("<i8").tobytes())

    def update(self, images: NDArray[np.uint8]) -> None:
        """Adds the next images (B, C, H, W)."""
        self._hash.update(np.ascontiguousarray(images).data)

    def update_encoded(self, content: bytes) -> None:
        """Adds the encoded bytes of the next image, for sets that are too large to decode for this alone."""
        self._hash.update(len(content).to_bytes(8, "little"))
        self._hash.update(content)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return self._hash.hexdigest()


def ordering(seed: str, indices: Sequence[int]) -> list[int]:
    """`indices` in the order of SHA-256("<seed>:<index>").

    A shuffle that depends on no library's random generator, so that a split published as a rule and a seed stays
    the same on every machine and in every version.
    """
    return sorted(indices, key=lambda index: hashlib.sha256(f"{seed}:{index}".encode()).digest())
