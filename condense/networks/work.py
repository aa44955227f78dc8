"""What a pass through a named network costs, counted once a process."""

from __future__ import annotations

import functools
from typing import NamedTuple

from torch.nn import BatchNorm2d

from condense.networks.inspection import activation_bytes, operations
from condense.networks.layers import Shape
from condense.networks.registry import build


class Work(NamedTuple):
    """Of one image."""

    operations: int  # of a forward pass, a multiply-add counting as two
    activation_bytes: int  # kept for the backward pass, in float32
    batch_norms: int  # layers of two-dimensional batch norm


@functools.cache
def work(name: str, shape: Shape, classes: int) -> Work:
    """The work of `build(name, shape, classes)`; raises as `build`."""
    network = build(name, shape, classes)
    norms = sum(isinstance(layer, BatchNorm2d) for layer in network.modules())
    return Work(operations(network, shape), activation_bytes(network, shape), norms)
