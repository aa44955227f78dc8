"""AlexNet as in the cross-architecture tables for small images (Zhao et al., ICLR 2021): one linear layer, no norm."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from condense.errors import BadInput
from condense.networks.layers import Network, Shape, activation_function, normalisation, stem_padding, stem_size

_WIDTHS = (128, 192, 256, 192, 192)
_POOLED = (True, True, False, False, True)


class AlexNet(Network):
    """Convolutions to 128 (5x5), 192 (5x5), 256, 192, 192 (3x3) channels; 2x2 max pooling after 1, 2 and 5.

    Raises:
        BadInput: for images with a side below 8 pixels, which three halvings would leave nothing of.
    """

    def __init__(self, shape: Shape, classes: int, *, norm: str = "none", activation: str = "relu"):
        super().__init__()
        height, width = stem_size(shape)
        if min(height, width) < 8:
            raise BadInput(f"alexnet halves the image 3 times and needs 8x8 pixels, got {shape[1]}x{shape[2]}; use mlp")
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        channels = shape[0]
        for index, channels_out in enumerate(_WIDTHS):
            kernel = 5 if index < 2 else 3
            padding = (kernel // 2, kernel // 2) if index else stem_padding(shape, kernel)
            self.convs.append(nn.Conv2d(channels, channels_out, kernel, padding=padding))
            self.norms.append(normalisation(norm, channels_out))
            channels = channels_out
        self.activation = activation_function(activation)
        self.classifier = nn.Linear(channels * (height // 8) * (width // 8), classes)

    def embed(self, images: Tensor) -> Tensor:
        for conv, norm, pooled in zip(self.convs, self.norms, _POOLED, strict=True):
            images = self.activation(norm(conv(images)))
            images = F.max_pool2d(images, 2) if pooled else images
        return images.flatten(1)  # (N, 192*h*w)
