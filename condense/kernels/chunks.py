"""Large batches in bounded memory: features of many images, and losses over many queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
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
    parts = [
        checkpoint(embed, part, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-untyped-call]
        for part in images.split(chunk)
    ]
    return torch.cat(parts)


def streamed_loss(
    weights: Tensor, queries: Iterable[tuple[Tensor, Tensor]], loss: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """sum over chunks of loss(features @ weights, targets), with the features of one chunk in memory at a time.

    The gradient by the weights is gathered on the way, which a loss that is a sum over queries allows.

    weights: (D, d).  queries: chunks of (features (B, D), targets).  Returns a scalar, differentiable in the weights.
    """
    leaf = weights.detach().requires_grad_(weights.requires_grad)
    total = weights.new_zeros(())
    for features, targets in queries:
        value = loss(features @ leaf, targets)
        if leaf.requires_grad:
            value.backward(inputs=[leaf])
        total += value.detach()
    if not leaf.requires_grad:
        return total
    result: Tensor = _Known.apply(weights, total, leaf.grad)
    return result


class _Known(torch.autograd.Function):
    """A value whose gradient was computed along with it."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradients[0] * gradient, None, None
