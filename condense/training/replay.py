"""Views that stored labels dictate: the crop, flip and mix that the labels were made for."""

from __future__ import annotations

import torch
from torch import Tensor

from condense.augment import Mix, MixUp, geometry
from condense.sending import send


def replay_view(images: Tensor, crop: Tensor | None, flip: Tensor | None) -> Tensor:
    """Crops, resizes back to the full size, then flips.

    images: (N, C, H, W).  crop: (N, 4), top, left, height, width as fractions of the image.  flip: (N,) bool.
    """
    mirrored = torch.zeros(len(images), dtype=torch.bool) if flip is None else flip
    if crop is None:
        return geometry.mirror(images, mirrored)
    height, width = images.shape[2:]
    sides = send(torch.tensor([height, width, height, width], dtype=crop.dtype), crop.device)
    return geometry.resized_crop(images, crop * sides, mirrored)


def replay_mix(images: Tensor, mix: Mix) -> Tensor:
    """Mixes images (N, C, H, W) as drawn: a box of the partner, or a weighted sum where there is no box."""
    return MixUp().apply(images, mix)  # every kind applies a mix by what the mix holds
