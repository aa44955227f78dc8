from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from condense import networks
from condense.distilled.labels import HardLabels
from condense.run.randomness import generator
from condense.training import Resident, Rng

SHAPE, CLASSES = (3, 16, 16), 4


@pytest.fixture
def stream() -> Callable[[int], Rng]:
    """The draws of a seed."""
    return lambda seed: lambda name, *ids: generator(seed, name, *ids)


@pytest.fixture
def source() -> Resident:
    """40 images of noise in 4 classes."""
    images = torch.randn(40, *SHAPE, generator=torch.Generator().manual_seed(0))
    return Resident(images, HardLabels(torch.arange(40) % CLASSES, CLASSES), CLASSES)


@pytest.fixture
def build() -> Callable[[str], Callable[[torch.Generator], nn.Module]]:
    """build(name)(generator) -> network for the images of `source`."""
    return lambda name: lambda generator: networks.build(name, SHAPE, CLASSES, generator)
