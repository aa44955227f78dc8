"""Features of many images in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from condense.networks import Network

Embed = Callable[[Tensor], Tensor]  # images (B, C, H, W) -> features (B, D), each from its own image alone


def embed(network: Network, images: Tensor, precision: str = "float32") -> Tensor:
    """Features (N, D) in at least float32.  precision: "bfloat16" runs the convolutions so.

    The network is an argument, so that all networks of one architecture share what is compiled of this.
    """
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        features = network.embed(images)
    return features if features.dtype == torch.float64 else features.float()


@torch.no_grad()
def frozen_features(embed: Embed, images: Tensor, chunk: int) -> Tensor:
    """Features (N, D) without a gradient, `chunk` images at a time."""
    return torch.cat([embed(part) for part in images.split(chunk)])


def support_features(embed: Embed, images: Tensor, chunk: int | None = None) -> Tensor:
    """Features (N, D) with a gradient.

    chunk: the low-memory mode, which keeps the maps of so many images at a time and computes those of each chunk again
    in the backward pass, at the price of a forward pass. The network must not draw random numbers, and no image may
    depend on another one of its batch.
    """
    if chunk is None:
        return embed(images)
    parts = [checkpoint(embed, part, use_reentrant=False, preserve_rng_state=False) for part in images.split(chunk)]
    return torch.cat(parts)
