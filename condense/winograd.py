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


# F(4, 3): 36 multiplications for 16 pixels instead of 144. The transforms evaluate polynomials at six points, and these
# decide how much rounding the way back multiplies. At 0, A, -A, B, -B and infinity it is half as much as at the usual
# 0, 1, -1, 2, -2 and infinity (Sec. 4.2): with products of bfloat16 1.3 % of a map of normal weights instead of 2.9 %,
# where the sum itself has 0.3 %. A gradient of pixels over ten steps (width 32, CIFAR-10) keeps a cosine of 0.9976 with
# the exact one then, and one of 0.998 where products of bfloat16 are all that rounds.
_A, _B = 2**-0.5, 2**0.5
FILTERING = Filtering(
    tile=(
        (1, 0, -5 / 2, 0, 1, 0),
        (0, -_B, -2, _A, 1, 0),
        (0, _B, -2, -_A, 1, 0),
        (0, -_A, -1 / 2, _B, 1, 0),
        (0, _A, -1 / 2, -_B, 1, 0),
        (0, 1, 0, -5 / 2, 0, 1),
    ),
    kernel=(
        (1, 0, 0),
        (-2 / 3, -2 * _A / 3, -1 / 3),
        (-2 / 3, 2 * _A / 3, -1 / 3),
        (1 / 6, _B / 6, 1 / 3),
        (1 / 6, -_B / 6, 1 / 3),
        (0, 0, 1),
    ),
    back=(
        (1, 1, 1, 1, 1, 0),
        (0, _A, -_A, _B, -_B, 0),
        (0, 1 / 2, 1 / 2, 2, 2, 0),
        (0, _A / 2, -_A / 2, 2 * _B, -2 * _B, 1),
    ),
)
_SIDE = len(FILTERING.back)  # m, pixels along each side of what a tile is for


def _mirrored(filtering: Filtering) -> Filtering:
    """What makes of transformed kernels the convolution with the kernels turned by half a circle.

    A kernel read backwards has at a point a the value of the kernel at 1/a, times a^2. The points are reciprocal in
    pairs, so its transform has the same numbers at other places, up to factors that go to the way back.
    """
    pairs = [5, 3, 4, 1, 2, 0]  # the place of 1/a for each place
    factors = [filtering.kernel[p][2] / filtering.kernel[pairs[p]][0] if p else 1.0 for p in range(_SIDE + 2)]
    back = tuple(tuple(factors[p] * row[p] for p in pairs) for row in filtering.back)
    return Filtering(tuple(filtering.tile[p] for p in pairs), filtering.kernel, back)


MIRRORED = _mirrored(FILTERING)


def transformed_kernels(weight: Tensor) -> Tensor:
    """Kernels (K, C, 3, 3) as a matrix for each place of a tile, (places, C, K)."""
    spread = torch.tensor(FILTERING.kernel, dtype=weight.dtype, device=weight.device)
    return torch.einsum("pa,kcab,qb->qpck", spread, weight, spread).flatten(0, 1)


def tiles_of(height: int, width: int) -> int:
    """How many tiles, of 16 pixels each, cover one map."""
    return _tiles_along(height) * _tiles_along(width)


def convolve(
    maps: Tensor,
    kernels: Tensor,
    product: Callable[[Tensor, Tensor], Tensor] = torch.bmm,
    filtering: Filtering = FILTERING,
) -> Tensor:
    """Convolution of maps (N, H, W, C), padded by one zero, with `transformed_kernels`.  Returns (N, H, W, K).

    product: of two stacks of matrices, (places, R, C) and (places, C, K).
    filtering: `MIRRORED` for the kernels turned by half a circle.
    """
    count, height, width, channels = maps.shape
    down, across = _tiles_along(height), _tiles_along(width)  # what they cover beyond the map is cut off again
    # One zero on each side, and as many more as make groups of m rows and columns, one group more than there are tiles:
    # the last tile takes its two overlapping rows from it.
    beyond = (_SIDE * across + _SIDE - 1 - width, _SIDE * down + _SIDE - 1 - height)
    maps = F.pad(maps, (0, 0, 1, beyond[0], 1, beyond[1]))
    # (q, p, N, down, across, C), with places p down and q across
    tiles = _tiles(_tiles(maps, down, 1, filtering), across, 3, filtering)
    products = product(tiles.reshape(len(kernels), count * down * across, channels), kernels)
    blocks = products.view(_SIDE + 2, _SIDE + 2, count, down, across, kernels.shape[2])
    rows = torch.stack(_combine(filtering.back, list(blocks)), dim=4)  # (p, N, down, across, m, K)
    whole = torch.stack(_combine(filtering.back, list(rows)), dim=2)  # (N, down, m, across, m, K)
    return whole.reshape(count, _SIDE * down, _SIDE * across, kernels.shape[2])[:, :height, :width]


def _tiles_along(side: int) -> int:
    return -(-side // _SIDE)


def _tiles(maps: Tensor, count: int, dim: int, filtering: Filtering) -> Tensor:
    """`count` stretches of m + 2 along `dim`, overlapping by two and transformed: a new first dimension of m + 2."""
    groups = maps.unflatten(dim, (count + 1, _SIDE))
    first, second = groups.narrow(dim, 0, count), groups.narrow(dim, 1, count)
    stretch = [first.select(dim + 1, i) for i in range(_SIDE)] + [second.select(dim + 1, i) for i in range(2)]
    return torch.stack(_combine(filtering.tile, stretch))


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
