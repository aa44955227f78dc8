"""The choices that several families share: normalisation, activation, and what a small image changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from condense.errors import BadInput, UnknownName

Shape: TypeAlias = tuple[int, int, int]  # channels, height, width of one image

NORMS = ("instance", "batch", "group", "layer", "none")


def _relu(x: Tensor) -> Tensor:
    # In place: what comes in is the fresh output of a convolution or a norm, whose backward does not need it,
    # and a second map of that size costs more in page faults than the operation itself.
    return F.relu_(x)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": _relu,
    "leaky_relu": F.leaky_relu,  # slope 0.01
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
}


class Network(nn.Module):
    """An image classifier in two parts: `embed`, what the classifier sees, and `classifier`, one linear layer.

    `embed` maps images (N, C, H, W) to (N, D); `forward` gives logits (N, K).
    """

    classifier: nn.Linear

    def embed(self, images: Tensor) -> Tensor:
        """The classifier's input, (N, D)."""
        raise NotImplementedError(f"{type(self).__name__} does not define embed")

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.embed(images))
        return logits


def normalisation(kind: str, channels: int) -> nn.Module:
    """The norm layer `kind` over maps of `channels` channels.

    instance: GroupNorm with one group a channel, affine, eps 1e-5 (so no running statistics, and vmap works);
    group: four groups; layer: one group, that is all of (C, H, W) with one gain and bias a channel; batch: BatchNorm2d.

    Raises:
        UnknownName: for another kind.
        BadInput: when four groups do not divide the channels.
    """
    if kind == "none":
        return nn.Identity()
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    groups = {"instance": channels, "group": 4, "layer": 1}.get(kind)
    if groups is None:
        raise UnknownName("norm", kind, NORMS)
    if channels % groups:
        raise BadInput(f"norm=group has 4 groups, which do not divide {channels} channels; choose a multiple of 4")
    return nn.GroupNorm(groups, channels)


def activation_function(kind: str) -> Callable[[Tensor], Tensor]:
    """The activation function `kind`.

    Raises:
        UnknownName: for a kind that is not in ACTIVATIONS.
    """
    if kind not in ACTIVATIONS:
        raise UnknownName("activation", kind, ACTIVATIONS)
    return ACTIVATIONS[kind]


def stem_padding(shape: Shape, kernel: int) -> tuple[int, int]:
    """Padding of the first convolution: size-keeping, but 28 pixels become 32, as the published networks do it.

    Three halvings of 28 would drop a row and a column; the authors pad MNIST by 3 in the first 3x3 convolution.
    """
    same = kernel // 2
    return (same + 2 if shape[1] == 28 else same, same + 2 if shape[2] == 28 else same)


def stem_size(shape: Shape) -> tuple[int, int]:
    """Height and width of the map behind a first convolution with `stem_padding`."""
    return (32 if shape[1] == 28 else shape[1], 32 if shape[2] == 28 else shape[2])
