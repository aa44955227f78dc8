"""VGG-11 in the small-image form of the cross-architecture tables: one linear layer.

Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
https://arxiv.org/abs/1409.1556, Table 1 (A), with a norm after each convolution as in Zhao et al., ICLR 2021.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from condense.errors import BadInput
from condense.networks.layers import Network, Shape, activation_function, normalisation, stem_padding, stem_size

_STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))


class VGG11(Network):
    """Eight 3x3 convolutions with norm and activation in five stages, 2x2 max pooling after each stage.

    On small images an inner pooling is skipped where it would leave one pixel, because instance norm makes a
    constant of a one-pixel map: 8x8 images are pooled behind stages 1, 2 and 5.

    Raises:
        BadInput: for images with a side below 2 pixels.
    """

    def __init__(
        self, shape: Shape, classes: int, *, width: int = 64, norm: str = "instance", activation: str = "relu"
    ):
        super().__init__()
        size = stem_size(shape)
        if min(size) < 2:
            raise BadInput(f"vgg11 needs images of at least 2x2 pixels, got {shape[1]}x{shape[2]}; use mlp")
        self.stages = nn.ModuleList()
        self.pooled: list[bool] = []
        channels = shape[0]
        for index, widths in enumerate(_STAGES):
            stage = nn.ModuleList()
            for reference_width in widths:
                channels_out = reference_width * width // 64
                padding = (1, 1) if self.stages or stage else stem_padding(shape, 3)
                stage.append(nn.Conv2d(channels, channels_out, 3, padding=padding))
                stage.append(normalisation(norm, channels_out))
                channels = channels_out
            self.stages.append(stage)
            last = index == len(_STAGES) - 1
            self.pooled.append(min(size) >= (2 if last else 4))
            size = (size[0] // 2, size[1] // 2) if self.pooled[-1] else size
        self.activation = activation_function(activation)
        self.classifier = nn.Linear(channels * size[0] * size[1], classes)

    def embed(self, images: Tensor) -> Tensor:
        for stage, pooled in zip(self.stages, self.pooled, strict=True):
            layers = list(stage.children())
            for conv, norm in zip(layers[::2], layers[1::2], strict=True):
                images = self.activation(norm(conv(images)))
            images = F.max_pool2d(images, 2) if pooled else images
        return images.flatten(1)  # (N, 512*h*w)
