"""Residual networks with the 3x3 stem for small images.

He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385;
stem and stages as commonly used on CIFAR: 3x3 convolution of stride 1, no max pooling, four stages. Weights are
drawn as PyTorch does by default, where torchvision's convolutions are normal with variance 2 / fan_out.
"""

from __future__ import annotations

from torch import Tensor, nn

from condense.errors import BadInput
from condense.networks.layers import Network, Shape, activation_function, normalisation, stem_padding, stem_size


class ResNet(Network):
    """Stages of `blocks` residual blocks of width, 2, 4 and 8 times `width`, then the average over the map.

    The last three stages halve the map; on small images one does not where it would leave one pixel, because
    instance norm makes a constant of a one-pixel map: the maps of 8x8 images are 8, 4, 2 and 2 pixels wide.

    Raises:
        BadInput: for images with a side below 2 pixels.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        blocks: tuple[int, ...],
        bottleneck: bool,
        width: int = 64,
        norm: str = "instance",
        activation: str = "relu",
    ):
        super().__init__()
        size = min(stem_size(shape))
        if size < 2:
            raise BadInput(f"resnet needs images of at least 2x2 pixels, got {shape[1]}x{shape[2]}; use mlp")
        self.conv = nn.Conv2d(shape[0], width, 3, padding=stem_padding(shape, 3), bias=False)
        self.norm = normalisation(norm, width)
        self.activation = activation_function(activation)
        self.stages = nn.ModuleList()
        channels = width
        for index, count in enumerate(blocks):
            stride = 2 if index and size >= 4 else 1
            size = -(-size // stride)  # a 3x3 convolution of stride 2 and padding 1 rounds up
            stage = nn.ModuleList()
            for position in range(count):
                block = _Block(channels, width << index, stride if position == 0 else 1, bottleneck, norm, activation)
                stage.append(block)
                channels = block.channels_out
            self.stages.append(stage)
        self.classifier = nn.Linear(channels, classes)

    def embed(self, images: Tensor) -> Tensor:
        maps = self.activation(self.norm(self.conv(images)))
        for stage in self.stages:
            for block in stage.children():
                maps = block(maps)
        return maps.mean((2, 3))  # (N, D)


class _Block(nn.Module):
    """Two 3x3 convolutions, or 1x1, 3x3 and 1x1 to four times the width, added to the input or its projection."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool, norm: str, activation: str):
        super().__init__()
        self.channels_out = 4 * width if bottleneck else width
        plan = [(3, width, stride), (3, width, 1)]  # kernel, channels, stride
        if bottleneck:
            plan = [(1, width, 1), (3, width, stride), (1, 4 * width, 1)]
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        inner = channels
        for kernel, channels_out, step in plan:
            self.convs.append(nn.Conv2d(inner, channels_out, kernel, step, padding=kernel // 2, bias=False))
            self.norms.append(normalisation(norm, channels_out))
            inner = channels_out
        self.shortcut = nn.Sequential()  # the identity
        if stride != 1 or channels != self.channels_out:
            projection = nn.Conv2d(channels, self.channels_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, normalisation(norm, self.channels_out))
        self.activation = activation_function(activation)

    def forward(self, maps: Tensor) -> Tensor:
        residual = maps
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            residual = norm(conv(self.activation(residual) if index else residual))
        return self.activation(residual + self.shortcut(maps))
