"""Views that stored labels dictate: the crop, flip and mix that the labels were made for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from condense import augment


def replay_view(images: Tensor, crop: Tensor | None, flip: Tensor | None) -> Tensor:
    """Crops, resizes back to the full size, then flips.

    images: (N, C, H, W).  crop: (N, 4), top, left, height, width as fractions of the image, sampled bilinearly with
    half-pixel centres and without antialiasing.  flip: (N,) bool, mirrored left to right after the crop.
    """
    if crop is not None:
        top, left, height, width = crop.to(images.device, images.dtype).unbind(1)
        zero = torch.zeros_like(top)
        # In coordinates of [-1, 1]: a crop of the fraction h at t has its centre at 2 t + h - 1 and half-height h.
        across = torch.stack([width, zero, 2 * left + width - 1], dim=1)
        down = torch.stack([zero, height, 2 * top + height - 1], dim=1)
        matrices = torch.stack([across, down], dim=1)  # (N, 2, 3)
        grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if flip is not None:
        images = torch.where(flip.to(images.device)[:, None, None, None], images.flip(3), images)
    return images


def replay_mix(images: Tensor, mix: augment.Mix) -> Tensor:
    """Mixes images (N, C, H, W) as drawn: a box of the partner (CutMix), or a weighted sum (MixUp)."""
    kind = augment.CutMix if mix.box is not None else augment.MixUp
    return kind(alpha=1.0, probability=1.0).apply(images, mix)
