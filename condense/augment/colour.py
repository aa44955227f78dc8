"""Changes of pixel values: colour jitter and cutout."""

from __future__ import annotations

import torch
from torch import Tensor


def colour(images: Tensor, shift: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Brightness, then saturation, then contrast, in one affine map of each image.

    With c the mean over channels of a pixel and m the mean over an image, the three steps
        x <- x + shift;   x <- (x - c) saturation + c;   x <- (x - m) contrast + m
    are x contrast saturation + c contrast (1 - saturation) + m (1 - contrast) + shift in the c and m of the original,
    because a shift moves both means along and saturation keeps them.

    images: (B, C, H, W).  shift, saturation, contrast: (B, 1, 1, 1) or (1, 1, 1, 1).
    """
    grey = images.mean(1, keepdim=True)  # (B, 1, H, W)
    level = grey.mean((2, 3), keepdim=True)  # (B, 1, 1, 1)
    rest = grey * (contrast * (1 - saturation)) + (level * (1 - contrast) + shift)
    return torch.addcmul(rest, images, contrast * saturation)


def cutout(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Zeroes the part of a rectangle that lies within the image.

    images: (B, C, H, W).  top, left: (B,) or (1,) int64, the first row and column; may lie outside.
    """
    rows = inside(images.shape[2], top, height)
    columns = inside(images.shape[3], left, width)
    keep = ~(rows[:, None, :, None] & columns[:, None, None, :])  # (B, 1, H, W)
    return images * keep.to(images)


def inside(side: int, first: Tensor, length: int | Tensor) -> Tensor:
    """(B, side) booleans, true at `first` .. `first + length - 1`."""
    places = torch.arange(side, device=first.device)
    first = first[:, None]
    return (places >= first) & (places < first + length)
