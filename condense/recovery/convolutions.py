"""The 3x3 convolutions of a teacher that stays as it is, with a quarter of the multiplications.

Kernels are transformed once. The gradient of the maps is the same operation with mirrored kernels, and there is no
other. A compiler is needed, since the transforms are passes over maps that cost more than they save unless they fuse.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from condense.machine_code import many_graphs
from condense.winograd import MIRRORED, convolve, tiles_of, transformed_kernels

# Of input and output: below it a direct convolution is as fast.
_CHANNELS = 32
# A piece of maps is cut into as many tiles as this times the channels: fewer would read the kernels, which are 36
# matrices, too often, and more would leave the cache (AMD EPYC with 1 MB of second and 32 MB of third level: 34 ms
# instead of 44 for 100 maps of 32 x 32 pixels and 64 channels).
_TILES = 2


def filter_convolutions(network: nn.Module) -> None:
    """Replaces, in place, every convolution of a frozen network that is faster as `FilteredConvolution`."""
    for path, layer in list(network.named_modules()):
        if isinstance(layer, nn.Conv2d) and _filterable(layer):
            network.set_submodule(path, FilteredConvolution(layer))


def _filterable(layer: nn.Conv2d) -> bool:
    plain = (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
    whole = layer.groups == 1 and layer.padding_mode == "zeros"
    return plain and whole and min(layer.in_channels, layer.out_channels) >= _CHANNELS


class FilteredConvolution(nn.Module):
    """A 3x3 convolution of stride and padding 1 by minimal filtering; its weights are constants.

    Maps that fill less than half of their tiles are convolved by the layer as it was.
    """

    kernels: Tensor

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        self._layer = layer
        self.register_buffer("kernels", transformed_kernels(layer.weight.detach()).contiguous())

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[2:]
        if 2 * height * width < 16 * tiles_of(height, width):
            result: Tensor = self._layer(maps)
            return result
        result = _filtered(maps, self.kernels, False)
        return result if self._layer.bias is None else result + self._layer.bias.view(1, -1, 1, 1)


# An operation of its own: to the graph around it, which sees whole batches, it is one node; inside, pieces of a batch
# run through a graph that is built once for each shape instead of once for each layer.
@torch.library.custom_op(
    "condense::filtered", mutates_args=(), schema="(Tensor maps, Tensor kernels, bool mirrored) -> Tensor"
)
def _filtered(maps: Tensor, kernels: Tensor, mirrored: bool) -> Tensor:
    """Maps (N, C, H, W) convolved with transformed kernels (36, C, K).  Returns (N, K, H, W).

    mirrored: maps (N, K, H, W) with the same kernels turned by half a circle, to (N, C, H, W): the transposed map.
    """
    rows = maps.permute(0, 2, 3, 1).contiguous()
    count, height, width, channels = rows.shape
    result = rows.new_empty(count, height, width, _filters(kernels, mirrored))
    size = max(1, _TILES * channels // tiles_of(height, width))
    with many_graphs(), torch.no_grad():  # in either mode, the same graph
        for place, piece in zip(result.split(size), rows.split(size), strict=True):
            _convolved()(place, piece, kernels, mirrored)
    return result.permute(0, 3, 1, 2)


def _filters(kernels: Tensor, mirrored: bool) -> int:
    return kernels.shape[1 if mirrored else 2]


@_filtered.register_fake
def _(maps: Tensor, kernels: Tensor, mirrored: bool) -> Tensor:
    count, _, height, width = maps.shape
    return maps.new_empty(count, height, width, _filters(kernels, mirrored)).permute(0, 3, 1, 2)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
    _, kernels, ctx.mirrored = inputs
    ctx.save_for_backward(kernels)


def _gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    (kernels,) = ctx.saved_tensors
    return _filtered(gradient, kernels, not ctx.mirrored), None, None


_filtered.register_autograd(_gradient, setup_context=_keep)


def _write_convolved(result: Tensor, rows: Tensor, kernels: Tensor, mirrored: bool) -> None:
    if mirrored:
        result.copy_(convolve(rows, kernels.transpose(1, 2), filtering=MIRRORED))
    else:
        result.copy_(convolve(rows, kernels))


@functools.cache
def _convolved() -> Callable[[Tensor, Tensor, Tensor, bool], None]:
    return torch.compile(_write_convolved, fullgraph=True, dynamic=False)
