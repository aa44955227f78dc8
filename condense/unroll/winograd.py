"""A 3x3 convolution with fewer multiplications: Winograd's minimal filtering.

Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, https://arxiv.org/abs/1509.09308, Sec. 4.

A map is cut into tiles that overlap by two; each tile and each kernel is transformed, their products are one matrix
product over channels for each place of a tile, and the inverse transform gives the pixels that a tile is for. The
transforms are sums with fixed small factors. All are linear, so derivatives of any order are again such products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Rows = tuple[tuple[float, ...], ...]


class Filtering(NamedTuple):
    """The three transforms in one dimension: of m + 2 values, of a kernel of 3, and back to m values."""

    tile: Rows  # (m + 2, m + 2)
    kernel: Rows  # (m + 2, 3)
    back: Rows  # (m, m + 2)


# F(2, 3), Sec. 4.1: hardly less exact than the sum itself.
SMALL = Filtering(
    tile=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    kernel=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    back=((1, 1, 1, 0), (0, 1, -1, -1)),
)
# F(4, 3), Sec. 4.2: used both ways, rounding errors are four times those of the sum.
LARGE = Filtering(
    tile=(
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    kernel=(
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
    back=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
)


class Tiling(NamedTuple):
    """A filtering for each dimension of a map."""

    down: Filtering
    across: Filtering


SMALL_SQUARES = Tiling(SMALL, SMALL)  # 2.25 times fewer multiplications on maps of 4 times the size
OBLONGS = Tiling(SMALL, LARGE)  # 3 times fewer, 3 times the size
LARGE_SQUARES = Tiling(LARGE, LARGE)  # 4 times fewer, 2.25 times the size


def transformed_kernels(weight: Tensor, tiling: Tiling) -> Tensor:
    """Kernels (K, C, 3, 3) as a matrix for each place of a tile, (places, C, K)."""
    down, across = (torch.tensor(each.kernel, dtype=weight.dtype, device=weight.device) for each in tiling)
    spread = torch.einsum("pa,kcab,qb->qpck", down, weight, across)
    return spread.flatten(0, 1)


def convolve(
    maps: Tensor, kernels: Tensor, tiling: Tiling, product: Callable[[Tensor, Tensor], Tensor] = torch.bmm
) -> Tensor:
    """Convolution of maps (N, H, W, C), padded by one zero, with `transformed_kernels`.  Returns (N, H, W, K).

    product: of two stacks of matrices, (places, R, C) and (places, C, K).
    """
    count, height, width, channels = maps.shape
    tall, wide = (len(each.back) for each in tiling)  # m in each dimension
    down, across = -(-height // tall), -(-width // wide)  # tiles; what they cover beyond the map is cut off again
    # One zero on each side, and as many more as make groups of m rows and columns, one group more than there are tiles:
    # the last tile takes its two overlapping rows from it.
    beyond = (wide * across + wide - 1 - width, tall * down + tall - 1 - height)
    maps = F.pad(maps, (0, 0, 1, beyond[0], 1, beyond[1]))
    # (q, p, N, down, across, C), with places p down and q across
    tiles = _tiles(_tiles(maps, down, 1, tiling.down.tile), across, 3, tiling.across.tile)
    products = product(tiles.reshape(len(kernels), count * down * across, channels), kernels)
    blocks = products.view(wide + 2, tall + 2, count, down, across, -1)
    rows = torch.stack(_combine(tiling.across.back, list(blocks)), dim=4)  # (p, N, down, across, m, K)
    whole = torch.stack(_combine(tiling.down.back, list(rows)), dim=2)  # (N, down, m, across, m, K)
    return whole.reshape(count, tall * down, wide * across, -1)[:, :height, :width]


def _tiles(maps: Tensor, count: int, dim: int, rows: Rows) -> Tensor:
    """`count` stretches of m + 2 along `dim`, overlapping by two and transformed: a new first dimension of m + 2."""
    step = len(rows) - 2
    groups = maps.unflatten(dim, (count + 1, step))
    first, second = groups.narrow(dim, 0, count), groups.narrow(dim, 1, count)
    stretch = [first.select(dim + 1, i) for i in range(step)] + [second.select(dim + 1, i) for i in range(2)]
    return torch.stack(_combine(rows, stretch))


def _combine(rows: Rows, parts: list[Tensor]) -> list[Tensor]:
    """The linear combinations of `parts` that the rows of a small matrix name, without products by 0 and 1."""
    combined = []
    for row in rows:
        terms = [
            part if factor == 1 else -part if factor == -1 else factor * part
            for factor, part in zip(row, parts, strict=True)
            if factor
        ]
        combined.append(sum(terms[1:], terms[0]))
    return combined
