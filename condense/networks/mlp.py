"""The perceptron of the cross-architecture tables: two hidden layers of 128 units (Zhao et al., ICLR 2021)."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from condense.networks.layers import Network, Shape, activation_function


class MLP(Network):
    """Flatten, `depth` hidden layers of `width` units with activation, and a linear layer."""

    def __init__(self, shape: Shape, classes: int, *, width: int = 128, depth: int = 2, activation: str = "relu"):
        super().__init__()
        sizes = [math.prod(shape)] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.activation = activation_function(activation)
        self.classifier = nn.Linear(width, classes)

    def embed(self, images: Tensor) -> Tensor:
        units = images.flatten(1)  # (N, C*H*W)
        for layer in self.hidden:
            units = self.activation(layer(units))
        return units
