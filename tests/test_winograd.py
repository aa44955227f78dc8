"""Minimal filtering against PyTorch's own convolutions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from condense.winograd import MIRRORED, convolve, tiles_of, transformed_kernels

SHAPES = [(2, 5, 8, 8), (1, 3, 4, 12), (2, 2, 7, 5), (1, 1, 1, 2), (0, 3, 4, 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_minimal_filtering_is_the_convolution(shape: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(shape, generator=rng, dtype=torch.float64)
    weight = torch.randn(6, shape[1], 3, 3, generator=rng, dtype=torch.float64)
    found = convolve(maps.permute(0, 2, 3, 1), transformed_kernels(weight))
    torch.testing.assert_close(found.permute(0, 3, 1, 2), F.conv2d(maps, weight, padding=1))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_kernels_serve_the_transposed_convolution(shape: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(shape, generator=rng, dtype=torch.float64)
    weight = torch.randn(shape[1], 6, 3, 3, generator=rng, dtype=torch.float64)
    kernels = transformed_kernels(weight).transpose(1, 2)
    found = convolve(maps.permute(0, 2, 3, 1), kernels, filtering=MIRRORED)
    torch.testing.assert_close(found.permute(0, 3, 1, 2), F.conv_transpose2d(maps, weight, padding=1))


def test_its_points_keep_rounding_small() -> None:
    """1.3 % with products of bfloat16; with the points 0, 1, -1, 2, -2 and infinity it would be 2.9 %."""
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(16, 64, 8, 8, generator=rng, dtype=torch.float64).relu()
    weight = torch.randn(32, 64, 3, 3, generator=rng, dtype=torch.float64)

    def product(left: Tensor, right: Tensor) -> Tensor:
        return (left.bfloat16() @ right.bfloat16()).double()

    exact = F.conv2d(maps, weight, padding=1)
    found = convolve(maps.permute(0, 2, 3, 1), transformed_kernels(weight), product).permute(0, 3, 1, 2)
    assert float((found - exact).norm() / exact.norm()) < 0.015


@pytest.mark.parametrize(("height", "width", "tiles"), [(1, 4, 1), (5, 4, 2), (7, 9, 6), (32, 32, 64)])
def test_tiles_cover_the_map(height: int, width: int, tiles: int) -> None:
    assert tiles_of(height, width) == tiles
