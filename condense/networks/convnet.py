"""The ConvNet of the matching papers: blocks of convolution, norm, activation and pooling, then one linear layer.

Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021,
https://arxiv.org/abs/2006.05929, Sec. 4, after Gidaris & Komodakis, CVPR 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from condense.errors import BadInput, UnknownName
from condense.networks.layers import Network, Shape, activation_function, normalisation, stem_padding, stem_size

POOLINGS = ("avg", "max", "none")
NORM_PLACES = ("output", "input")


class Activations(NamedTuple):
    """What a forward pass goes through: the map after each block's activation, and the classifier's input."""

    maps: list[Tensor]  # (N, C, h, w) each, before pooling
    embedding: Tensor  # (N, D)


class ConvNet(Network):
    """`depth` blocks of 3x3 convolution to `width` channels, norm, activation, 2x2 pooling; then a linear layer.

    Without a depth it is as deep as the matching papers make it, so that the last map is 4x4: depth 3 at 32 pixels,
    4 at 64, up to 6 at 256. Below 16 pixels it has two blocks, because a single one has no hidden map.

    The kernel-regression papers widen it: block i has width * growth^i channels (growth 2 in KRR-ST and FRePo), and
    FRePo norms the input of each convolution but the first instead of its output (norm_at "input").

    Raises:
        BadInput: when the image is too small for `depth` halvings.
        UnknownName: for an unknown norm, place of the norm, pooling or activation.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        depth: int | None,
        width: int = 128,
        growth: int = 1,
        norm: str = "instance",
        norm_at: str = "output",
        pooling: str = "avg",
        activation: str = "relu",
    ):
        super().__init__()
        if pooling not in POOLINGS:
            raise UnknownName("pooling", pooling, POOLINGS)
        if norm_at not in NORM_PLACES:
            raise UnknownName("norm_at", norm_at, NORM_PLACES)
        depth = _published_depth(shape) if depth is None else depth
        height, width_px = stem_size(shape)
        if pooling != "none":
            _refuse_too_deep(depth, shape)
            height, width_px = height >> depth, width_px >> depth
        widths = [shape[0], *(width * growth**index for index in range(depth))]
        block = ConvBlock if norm_at == "output" else NormedInputBlock
        self.blocks = nn.ModuleList(
            block(
                *widths[index : index + 2],
                padding=(1, 1) if index else stem_padding(shape, 3),
                norm=norm if index or norm_at == "output" else "none",
                activation=activation,
            )
            for index in range(depth)
        )
        self.pooling = pooling
        self.classifier = nn.Linear(widths[-1] * height * width_px, classes)

    def embed(self, images: Tensor) -> Tensor:
        for block in self.blocks:
            images = self._pool(block(images))
        return images.flatten(1)  # (N, width*h*w); flatten, because a channels_last map has no such view

    def activations(self, images: Tensor) -> Activations:
        """One forward pass, keeping the map after each activation, before pooling."""
        maps = []
        for block in self.blocks:
            images = block(images)
            maps.append(images)
            images = self._pool(images)
        return Activations(maps, images.flatten(1))

    def _pool(self, maps: Tensor) -> Tensor:
        if self.pooling == "avg":
            return F.avg_pool2d(maps, 2)
        return F.max_pool2d(maps, 2) if self.pooling == "max" else maps


class ConvBlock(nn.Module):
    """3x3 convolution with bias, norm, activation."""

    def __init__(self, channels: int, width: int, *, padding: tuple[int, int], norm: str, activation: str):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=padding)
        self.norm = normalisation(norm, width)
        self.activation = activation_function(activation)

    def forward(self, maps: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(maps)))


class NormedInputBlock(nn.Module):
    """Norm, 3x3 convolution with bias, activation."""

    def __init__(self, channels: int, width: int, *, padding: tuple[int, int], norm: str, activation: str):
        super().__init__()
        self.norm = normalisation(norm, channels)
        self.conv = nn.Conv2d(channels, width, 3, padding=padding)
        self.activation = activation_function(activation)

    def forward(self, maps: Tensor) -> Tensor:
        return self.activation(self.conv(self.norm(maps)))


def _published_depth(shape: Shape) -> int:
    return max(2, min(6, _deepest(shape) - 2))


def _deepest(shape: Shape) -> int:
    """How often the map can be halved before nothing is left."""
    return min(stem_size(shape)).bit_length() - 1


def _refuse_too_deep(depth: int, shape: Shape) -> None:
    deepest = _deepest(shape)
    if depth > deepest:
        remedy = f"use convnet-d{deepest} or pooling=none" if deepest else "use pooling=none"
        raise BadInput(
            f"convnet-d{depth} halves the image {depth} times; {shape[1]}x{shape[2]} pixels allow {deepest}, {remedy}"
        )
