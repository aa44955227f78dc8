"""Synthetic images matched together with their mirror images (FYI).

Son et al., "FYI: Flip Your Images for Dataset Distillation", ECCV 2024, https://arxiv.org/abs/2407.08113.

A small synthetic set is pushed to be its own mirror image, because real objects face both ways: the same part appears
left and right, and half of the pixels are wasted. With the mirror images in every synthetic batch, an image is free to
show one side in more detail. Only the images themselves are stored, and the judge knows nothing of it.

The released code changed a second thing together with this one, the flip of its augmentation: `DSA.flip_first`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from condense.augment.augmentation import HasFlips, require_flips

Expansion = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def expansion(train: HasFlips, mirror: bool) -> Expansion:
    """What a method does to a synthetic batch (images, labels) right before augmentation: `mirrored`, or nothing.

    Raises:
        BadInput: for mirror images of data whose classes they change.
    """
    if not mirror:
        return unchanged
    require_flips(train, "mirror")
    return mirrored


def mirrored(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The batch followed by its mirror images: [X ; F(X)] and [y ; y], F swapping left and right.

    images: (B, C, H, W).  labels: (B,) classes, or (B, K) targets.  Returns (2B, C, H, W) and (2B,) or (2B, K); the
    gradient reaches images and labels through both halves.
    """
    return torch.cat([images, images.flip(3)]), torch.cat([labels, labels])


def unchanged(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The batch as it is."""
    return images, labels
