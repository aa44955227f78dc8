"""torchvision's mobile and dense networks with the stem for small images: they are wrapped, not written again.

As published they shrink 32 pixels to one. As is common on CIFAR, the first convolution is 3x3 with stride 1 and the
pooling behind it is gone; further halvings are left out where a map would become smaller than 2x2. There is no
dropout and no stochastic depth, so that a forward pass draws nothing. All of them have batch norm. Weights are drawn as
PyTorch does by default, as torchvision does for ShuffleNet alone; `torchvision:<name>` is drawn as it is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

import torch
from torch import Tensor, nn

from condense import _torchvision
from condense.errors import BadInput
from condense.networks.layers import Network, Shape, stem_padding, stem_size

_SHUFFLENETS = {50: "x0_5", 100: "x1_0", 150: "x1_5", 200: "x2_0"}  # percent of the width -> torchvision's name

# Tan & Le 2019, Table 1: expansion, kernel, stride, channels in and out, layers.
_EFFICIENTNET_B0 = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


class _Wrapped(Network):
    """A torchvision network split before its last linear layer.

    body: torchvision's network, whose classifier is the identity.
    """

    def __init__(self, body: nn.Module, classifier: nn.Linear):
        super().__init__()
        self.body = body
        self.classifier = classifier

    def embed(self, images: Tensor) -> Tensor:
        embedding: Tensor = self.body(images)
        return embedding


class MobileNetV2(_Wrapped):
    """Sandler et al., "MobileNetV2", CVPR 2018, https://arxiv.org/abs/1801.04381.

    The stem and the stage of 24 channels keep the size, so 32 pixels become 4.  width: percent of the channels.
    """

    def __init__(self, shape: Shape, classes: int, *, width: int = 100):
        body = _models().mobilenet_v2(width_mult=width / 100, num_classes=classes, dropout=0.0)
        body.features[0][0] = _stem(shape, body.features[0][0])
        blocks = list(body.features)[1:]
        _keep_size(blocks[1])
        _halve_only_what_can_be_halved(blocks, shape)
        linear = body.classifier[1]
        body.classifier = nn.Identity()
        super().__init__(body, linear)


class ShuffleNetV2(_Wrapped):
    """Ma et al., "ShuffleNet V2", ECCV 2018, https://arxiv.org/abs/1807.11164.

    width: percent of the channels, one of the four that are published: 50, 100, 150, 200.

    Raises:
        BadInput: for another width.
    """

    def __init__(self, shape: Shape, classes: int, *, width: int = 100):
        if width not in _SHUFFLENETS:
            raise BadInput(f"the width of shufflenet-v2 is one of {', '.join(map(str, _SHUFFLENETS))}, got {width}")
        body = getattr(_models(), f"shufflenet_v2_{_SHUFFLENETS[width]}")(num_classes=classes)
        body.conv1[0] = _stem(shape, body.conv1[0])
        body.maxpool = nn.Identity()
        _halve_only_what_can_be_halved([*body.stage2, *body.stage3, *body.stage4], shape)
        linear = body.fc
        body.fc = nn.Identity()
        super().__init__(body, linear)


class EfficientNetB0(_Wrapped):
    """Tan & Le, "EfficientNet", ICML 2019, https://arxiv.org/abs/1905.11946.  width: percent of the channels."""

    def __init__(self, shape: Shape, classes: int, *, width: int = 100):
        models = _models()
        stages = [models.efficientnet.MBConvConfig(*row, width_mult=width / 100) for row in _EFFICIENTNET_B0]
        body = models.EfficientNet(stages, dropout=0.0, stochastic_depth_prob=0.0, num_classes=classes)
        body.features[0][0] = _stem(shape, body.features[0][0])
        _halve_only_what_can_be_halved([block for stage in list(body.features)[1:-1] for block in stage], shape)
        linear = body.classifier[1]
        body.classifier = nn.Identity()
        super().__init__(body, linear)


class DenseNet121(_Wrapped):
    """Huang et al., "Densely Connected Convolutional Networks", CVPR 2017, https://arxiv.org/abs/1608.06993.

    growth: channels that each of the 58 layers adds; the stem has twice as many.
    """

    def __init__(self, shape: Shape, classes: int, *, growth: int = 32):
        body = _models().DenseNet(growth_rate=growth, num_init_features=2 * growth, num_classes=classes)
        body.features.conv0 = _stem(shape, body.features.conv0)
        body.features.pool0 = nn.Identity()
        transitions = [layer for name, layer in body.features.named_children() if name.startswith("transition")]
        _halve_only_what_can_be_halved(transitions, shape)
        linear = body.classifier
        body.classifier = nn.Identity()
        super().__init__(body, linear)


def _models() -> ModuleType:
    with torch.device("cpu"):  # what the import makes outlives a context in which tensors have no memory
        return _torchvision.load("models")


def _stem(shape: Shape, published: nn.Conv2d) -> nn.Conv2d:
    return nn.Conv2d(shape[0], published.out_channels, 3, padding=stem_padding(shape, 3), bias=False)


def _halve_only_what_can_be_halved(blocks: Iterable[nn.Module], shape: Shape) -> None:
    """Lets each block that halves the map do so only while 2x2 pixels are left of the shorter side.

    Below that, batch norm would see a single value a channel whenever a batch has one image.
    """
    size = min(stem_size(shape))
    if size < 2:
        raise BadInput(f"this network needs images of at least 2x2 pixels, got {shape[1]}x{shape[2]}; use mlp")
    for block in blocks:
        if not any(layer.stride in (2, (2, 2)) for layer in _resizing(block)):
            continue
        if size < 4:
            _keep_size(block)
        else:
            size //= 2


def _keep_size(block: nn.Module) -> None:
    for layer in _resizing(block):
        layer.stride = (1, 1)
        if isinstance(layer, nn.AvgPool2d):
            layer.kernel_size = 1


def _resizing(block: nn.Module) -> list[nn.Conv2d | nn.AvgPool2d]:
    return [layer for layer in block.modules() if isinstance(layer, nn.Conv2d | nn.AvgPool2d)]
