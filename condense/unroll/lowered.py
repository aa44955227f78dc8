"""The ConvNet of the matching papers as matrix products over maps in the order (N, H, W, C).

What a compiler needs to be fast here: no operation that forces a memory order, every pass over a map written out so
that neighbours fuse, no kernel that computes more derivatives than are asked for, and no convolution kernel at all: the
first layer is a product with 3x3 patches, the others are Winograd's.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condense.errors import BadInput
from condense.flat import FlatNetwork
from condense.networks.convnet import ConvBlock, ConvNet
from condense.winograd import convolve, transformed_kernels


class Lowered(NamedTuple):
    """The parameters of a network in the form that its matrix products take."""

    first: Tensor  # (9*C, K_0), of the convolution that sees the images
    rest: dict[str, Tensor]  # everything else by its name; convolutions as `transformed_kernels`

    def tensors(self) -> list[Tensor]:
        """All of them, in one order."""
        return [self.first, *self.rest.values()]

    def detached(self) -> Lowered:
        """The same numbers, constant."""
        return Lowered(self.first.detach(), {name: value.detach() for name, value in self.rest.items()})


def obstacle(network: FlatNetwork) -> str | None:
    """Why a network has no lowered form; None for a ConvNet whose blocks norm the output of their convolution."""
    skeleton = network.skeleton
    if not isinstance(skeleton, ConvNet):
        return f"the compiled form is written for the ConvNet, and this is {type(skeleton).__name__}"
    if not all(isinstance(block, ConvBlock) for block in skeleton.blocks):
        return "the compiled form is written for a ConvNet with norm_at=output, and this one norms its inputs"
    return None


class LoweredConvNet:
    """A ConvNet as a function of its parameters in the form that the products take; that form is linear in them.

    half: products in bfloat16, and so the maps that a pass leaves to the next one; sums and statistics are not.

    Raises:
        BadInput: for another network, saying why.
    """

    def __init__(self, network: FlatNetwork, half: bool):
        reason = obstacle(network)
        if reason is not None:
            raise BadInput(f"{reason}; use an engine with compile=False")
        skeleton = cast(ConvNet, network.skeleton)
        self._network = network
        self._blocks: list[ConvBlock] = list(skeleton.blocks)  # type: ignore[arg-type]
        self._pooling = skeleton.pooling
        self._half = half

    def lower(self, parameters: Tensor) -> Lowered:
        """The parameters (P,) in the form that the products take, a differentiable linear map."""
        named = self._network.unflatten(parameters)
        first = named.pop("blocks.0.conv.weight").flatten(1).T.contiguous()
        rest = {
            name: transformed_kernels(value) if name.endswith("conv.weight") else value for name, value in named.items()
        }
        return Lowered(first, {name: value.contiguous() for name, value in rest.items()})

    def patches(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) as the patches under each place of the first kernel, (N, H', W', 9*C)."""
        padding = cast(tuple[int, int], self._blocks[0].conv.padding)
        columns = F.unfold(images, 3, padding=padding)  # (N, 9*C, H'*W')
        sides = [side + 2 * border - 2 for side, border in zip(images.shape[2:], padding, strict=True)]
        return columns.unflatten(2, sides).permute(0, 2, 3, 1)

    def logits(self, maps: Tensor, rest: dict[str, Tensor]) -> Tensor:
        """Logits (N, K) of the maps (N, H', W', K_0) behind the first convolution, without its bias.

        maps: `product` of the patches with `Lowered.first`.  rest: `Lowered.rest`.
        """
        for index, block in enumerate(self._blocks):
            if index:
                maps = convolve(maps, rest[f"blocks.{index}.conv.weight"], self.product)
            maps = maps + rest[f"blocks.{index}.conv.bias"]
            if isinstance(block.norm, nn.GroupNorm):
                gain, bias = rest[f"blocks.{index}.norm.weight"], rest[f"blocks.{index}.norm.bias"]
                maps = self._kept(_normalise(maps, gain, bias, block.norm.num_groups, block.norm.eps))
            maps = self._kept(self._pool(block.activation(maps)))
        features = maps.permute(0, 3, 1, 2).flatten(1)  # (N, C*h*w), in the order of the classifier's columns
        return self.product(features, rest["classifier.weight"].T) + rest["classifier.bias"]

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """Matrix product in the precision of the products, its result in that of the rest."""
        if self._half:
            return torch.matmul(left.bfloat16(), right.bfloat16()).float()
        return torch.matmul(left, right)

    def _kept(self, maps: Tensor) -> Tensor:
        """Maps as memory holds them between passes: in half of the bytes where products take no more digits anyway."""
        return maps.bfloat16().float() if self._half else maps

    def _pool(self, maps: Tensor) -> Tensor:
        if self._pooling == "none":
            return maps
        height, width = maps.shape[1] // 2, maps.shape[2] // 2
        squares = maps[:, : 2 * height, : 2 * width].unflatten(1, (height, 2)).unflatten(3, (width, 2))
        return squares.mean((2, 4)) if self._pooling == "avg" else squares.amax((2, 4))


def _normalise(maps: Tensor, gain: Tensor, bias: Tensor, groups: int, epsilon: float) -> Tensor:
    """Group norm of maps (N, H, W, C) as one pass for the sums and one for the values, in each direction.

    The variance is the mean square less the squared mean, of values counted from one of their own, lest digits cancel
    where they are far from zero and near each other. Neither depends on what they are counted from.
    """

    def of_groups(values: Tensor) -> Tensor:  # (N, 1, 1, C), each replaced by the mean of its group
        grouped = values.unflatten(3, (groups, -1))
        return grouped.mean(4, keepdim=True).expand_as(grouped).flatten(3)

    corners = maps.detach()[:, :1, :1].unflatten(3, (groups, -1))
    counted = maps - corners[..., :1].expand_as(corners).flatten(3)
    mean = of_groups(counted.mean((1, 2), keepdim=True))
    variance = of_groups(counted.square().mean((1, 2), keepdim=True)) - mean.square()
    scale = (variance + epsilon).rsqrt() * gain
    return counted * scale + (bias - mean * scale)
