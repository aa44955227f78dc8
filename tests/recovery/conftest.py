"""Small teachers with running statistics of their own, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from condense import networks
from condense.networks import Network

SHAPE, CLASSES = (3, 8, 8), 4


@pytest.fixture
def with_statistics() -> Callable[..., Network]:
    """with_statistics(name, seed=0, shape=SHAPE) -> a network whose norms are not those of a fresh one."""

    def build(name: str, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Network:
        generator = torch.Generator().manual_seed(seed)
        network = networks.build(name, shape, CLASSES, generator).double()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                names = ("running_mean", "running_var", "weight", "bias")
                for part, low in zip(names, (-1.0, 0.5, -0.5, -1.0), strict=True):
                    tensor = getattr(layer, part)
                    tensor.data.uniform_(low, low + 2.0, generator=generator)
        return network

    return build


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Seven images and their classes."""
    images = torch.randn(7, *SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return images, torch.tensor([0, 1, 2, 3, 0, 1, 2])
