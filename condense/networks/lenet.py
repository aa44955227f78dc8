"""LeNet-5 with ReLU and max pooling, as in the cross-architecture tables (Zhao et al., ICLR 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from condense.errors import BadInput
from condense.networks.layers import Network, Shape, activation_function

_SMALLEST_UNPADDED = 28


class LeNet(Network):
    """Convolutions 5x5 to 6 and 16 channels, each with max pooling, then 120, 84 and K units.

    A side of 28 pixels is padded by 2 in the first convolution. On images with a side below 28 both convolutions are
    padded and keep the size: unpadded, they would leave nothing of 8 pixels.

    Raises:
        BadInput: for images with a side below 4 pixels.
    """

    def __init__(self, shape: Shape, classes: int, *, activation: str = "relu"):
        super().__init__()
        if min(shape[1:]) < 4:
            raise BadInput(f"lenet halves the image twice and needs 4x4 pixels, got {shape[1]}x{shape[2]}; use mlp")
        tiny = min(shape[1:]) < _SMALLEST_UNPADDED
        first = (2, 2) if tiny else (2 if shape[1] == 28 else 0, 2 if shape[2] == 28 else 0)
        second = (2, 2) if tiny else (0, 0)
        self.conv1 = nn.Conv2d(shape[0], 6, 5, padding=first)
        self.conv2 = nn.Conv2d(6, 16, 5, padding=second)
        height, width = (
            ((side + 2 * pad1 - 4) // 2 + 2 * pad2 - 4) // 2
            for side, pad1, pad2 in zip(shape[1:], first, second, strict=True)
        )
        self.fc1 = nn.Linear(16 * height * width, 120)
        self.fc2 = nn.Linear(120, 84)
        self.classifier = nn.Linear(84, classes)
        self.activation = activation_function(activation)

    def embed(self, images: Tensor) -> Tensor:
        maps = F.max_pool2d(self.activation(self.conv1(images)), 2)
        maps = F.max_pool2d(self.activation(self.conv2(maps)), 2)
        return self.activation(self.fc2(self.activation(self.fc1(maps.flatten(1)))))
