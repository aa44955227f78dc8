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
    """The three transforms in one dimension: of a tile of m + 2 values, of a kernel of 3, and back to m values."""

    tile: Rows  # (m + 2, m + 2)
    kernel: Rows  # (m + 2, 3)
    back: Rows  # (m, m + 2)


# F(2x2, 3x3), Sec. 4.1: 2.25 times fewer multiplications, and hardly less exact than the sum itself.
SMALL = Filtering(
    tile=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    kernel=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    back=((1, 1, 1, 0), (0, 1, -1, -1)),
)
# F(4x4, 3x3), Sec. 4.2: 4 times fewer; rounding errors are four times those of the sum.
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


def transformed_kernels(weight: Tensor, filtering: Filtering) -> Tensor:
    """Kernels (K, C, 3, 3) as a matrix for each place of a tile, (places, C, K)."""
    matrix = torch.tensor(filtering.kernel, dtype=weight.dtype, device=weight.device)
    spread = torch.einsum("pa,kcab,qb->qpck", matrix, weight, matrix)
    return spread.flatten(0, 1)


def convolve(
    maps: Tensor, kernels: Tensor, filtering: Filtering, product: Callable[[Tensor, Tensor], Tensor] = torch.bmm
) -> Tensor:
    """Convolution of maps (N, H, W, C), padded by one zero, with `transformed_kernels`.  Returns (N, H, W, K).

    product: of two stacks of matrices, (places, R, C) and (places, C, K).
    """
    count, height, width, channels = maps.shape
    step, side = len(filtering.back), len(filtering.tile)  # m, m + 2
    down, across = -(-height // step), -(-width // step)  # tiles; what they cover beyond the map is cut off again
    # One zero on each side, and as many more as make groups of m rows and columns, one group more than there are tiles:
    # the last tile takes its two overlapping rows from it.
    beyond = [step * tiles + step - 1 - length for tiles, length in ((across, width), (down, height))]
    maps = F.pad(maps, (0, 0, 1, beyond[0], 1, beyond[1]))
    tiles = _tiles(_tiles(maps, down, 1, filtering.tile), across, 3, filtering.tile)  # (q, p, N, down, across, C)
    products = product(tiles.reshape(side * side, count * down * across, channels), kernels)
    blocks = products.view(side, side, count, down, across, -1)
    rows = torch.stack(_combine(filtering.back, list(blocks)), dim=4)  # (p, N, down, across, m, K)
    whole = torch.stack(_combine(filtering.back, list(rows)), dim=2)  # (N, down, m, across, m, K)
    return whole.reshape(count, step * down, step * across, -1)[:, :height, :width]


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
