"""What the images of a split are, whatever their labels: the name under which things made of them are cached."""

from __future__ import annotations

import hashlib

import torch

from condense.data import Split

_CHUNK = 4096  # images read at once
_known: dict[str, str] = {}  # fingerprint of a split -> digest of its images; reading a large split takes seconds


def images_digest(split: Split) -> str:
    """SHA-256 of the pixels in the split's order.

    A split's fingerprint also names its labels: under it, an unlabelled teacher would differ between two labellings of
    the same images, because its random numbers derive from the name of the cached value.
    """
    if split.fingerprint not in _known:
        content = hashlib.sha256(repr((len(split), split.shape)).encode())
        for rows in torch.arange(len(split)).split(_CHUNK):
            content.update(split.take(rows).cpu().numpy().tobytes())
        _known[split.fingerprint] = content.hexdigest()
    return _known[split.fingerprint]
