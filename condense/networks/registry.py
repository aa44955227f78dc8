"""Names of networks: `row` or `row:knob=value,knob=value`, and `torchvision:<classifier>`.

A row is a class with some of its keyword arguments fixed; the others are its knobs, with their defaults and types
read from the signature, so that there is nothing to keep in step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from condense.errors import BadInput, UnknownName
from condense.networks.alexnet import AlexNet
from condense.networks.cifar_stem import DenseNet121, EfficientNetB0, MobileNetV2, ShuffleNetV2
from condense.networks.convnet import ConvNet
from condense.networks.initialise import initialise
from condense.networks.layers import Network, Shape
from condense.networks.lenet import LeNet
from condense.networks.mlp import MLP
from condense.networks.resnet import ResNet
from condense.networks.vgg import VGG11
from condense.networks.vit import ViT

_TORCHVISION = "torchvision:"


@dataclass(frozen=True)
class Description:
    """What `condense list networks` says of a row."""

    name: str
    summary: str
    knobs: Mapping[str, int | str]  # with their defaults


@dataclass(frozen=True)
class _Row:
    family: Callable[..., Network]
    summary: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def knobs(self) -> dict[str, int | str]:
        parameters = inspect.signature(self.family).parameters.values()
        return {
            parameter.name: parameter.default
            for parameter in parameters
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in self.fixed
        }


def _resnet(blocks: tuple[int, ...], bottleneck: bool = False) -> _Row:
    kind = "bottleneck" if bottleneck else "basic"
    summary = f"3x3 stem without pooling, stages of {'-'.join(map(str, blocks))} {kind} blocks, global average"
    return _Row(ResNet, summary, {"blocks": blocks, "bottleneck": bottleneck})


_ROWS: Mapping[str, _Row] = {
    "convnet": _Row(
        ConvNet, "as deep as the papers make it for the image: convnet-d3 at 32 px, d4 at 64 px", {"depth": None}
    ),
    **{
        f"convnet-d{depth}": _Row(
            ConvNet, f"blocks of 3x3 convolution, norm, activation, pooling: {depth}", {"depth": depth}
        )
        for depth in range(1, 7)
    },
    "mlp": _Row(MLP, "fully connected, two hidden layers"),
    "lenet": _Row(LeNet, "two 5x5 convolutions with max pooling, three linear layers"),
    "alexnet": _Row(AlexNet, "five convolutions, three max poolings, one linear layer (the small-image form)"),
    "vgg11": _Row(VGG11, "eight 3x3 convolutions with norm, five max poolings, one linear layer"),
    "resnet10": _resnet((1, 1, 1, 1)),
    "resnet18": _resnet((2, 2, 2, 2)),
    "resnet34": _resnet((3, 4, 6, 3)),
    "resnet50": _resnet((3, 4, 6, 3), bottleneck=True),
    "resnet101": _resnet((3, 4, 23, 3), bottleneck=True),
    "mobilenet-v2": _Row(MobileNetV2, "torchvision's with a 3x3 stem of stride 1; width in percent"),
    "shufflenet-v2": _Row(ShuffleNetV2, "torchvision's with a 3x3 stem of stride 1; width 50, 100, 150 or 200 percent"),
    "efficientnet-b0": _Row(EfficientNetB0, "torchvision's with a 3x3 stem of stride 1; width in percent"),
    "densenet-121": _Row(DenseNet121, "torchvision's with a 3x3 stem of stride 1; growth in channels a layer"),
    "vit": _Row(ViT, "pre-norm vision transformer on about 8x8 patches, mean over tokens, no dropout"),
}


def names() -> list[str]:
    """The rows; any torchvision classifier is `torchvision:<its name>` besides."""
    return list(_ROWS)


def describe(name: str) -> Description:
    """Summary and knobs of a row; knobs named in `name` stand with their given value.

    Raises:
        UnknownName: for a row, or a knob, that does not exist.
        BadInput: for a knob without a value or with one of the wrong type.
    """
    if name.startswith(_TORCHVISION):
        _check_torchvision(name)
        return Description(name, "torchvision's classifier of this name, without its trained weights", {})
    row_name, row, given = _parse(name)
    return Description(row_name, row.summary, {**row.knobs(), **given})


def canonical(name: str) -> str:
    """The one spelling of a network: knobs sorted, those at their default left out. Raises as `describe`."""
    if name.startswith(_TORCHVISION):
        _check_torchvision(name)
        return name
    row_name, row, given = _parse(name)
    defaults = row.knobs()
    knobs = ",".join(f"{knob}={given[knob]}" for knob in sorted(given) if given[knob] != defaults[knob])
    return f"{row_name}:{knobs}" if knobs else row_name


def _check_torchvision(name: str) -> None:
    from condense.networks import zoo  # here, because torchvision takes a second to import

    zoo.check_name(name.removeprefix(_TORCHVISION))


def build(name: str, shape: Shape, classes: int, generator: torch.Generator | None = None) -> Network:
    """A network for images (C, H, W) = `shape` and `classes` classes, in training mode on the CPU.

    Its weights come from `generator` alone, or from one seeded with 0 when none is given: for a network whose
    weights are replaced anyway.

    Raises:
        UnknownName: for a network or knob that does not exist.
        BadInput: for a knob's value, or an image size, that the network cannot take.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    _check_sizes(shape, classes)
    if name.startswith(_TORCHVISION):
        from condense.networks.zoo import TorchvisionClassifier

        return TorchvisionClassifier(name.removeprefix(_TORCHVISION), shape, classes, generator)
    _, row, given = _parse(name)
    with torch.device("meta"):  # no memory and no random draw before `initialise`
        network = row.family(shape, classes, **row.fixed, **given)
    network.to_empty(device="cpu")
    initialise(network, generator)
    return network


def _parse(name: str) -> tuple[str, _Row, dict[str, int | str]]:
    row_name, _, knobs = name.partition(":")
    if row_name not in _ROWS:
        raise UnknownName("network", row_name, [*_ROWS, "torchvision:resnet18"])
    row = _ROWS[row_name]
    defaults = row.knobs()
    given: dict[str, int | str] = {}
    for item in knobs.split(",") if knobs else ():
        knob, equals, value = item.partition("=")
        if knob not in defaults:
            raise UnknownName(f"knob of {row_name}", knob, defaults)
        if not equals or not value or knob in given:
            example = f"{row_name}:{knob}={defaults[knob]}"
            raise BadInput(f"each knob stands once and with a value, got {name!r}; write for example {example}")
        given[knob] = _number(row_name, knob, value) if isinstance(defaults[knob], int) else value
    return row_name, row, given


def _number(row_name: str, knob: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise BadInput(f"{knob} of {row_name} must be a whole number of at least 1, got {value!r}")
    return int(value)


def _check_sizes(shape: Shape, classes: int) -> None:
    if len(shape) != 3 or any(not isinstance(size, int) or size < 1 for size in shape):
        raise BadInput(f"an image shape is (channels, height, width), all at least 1, got {tuple(shape)}")
    if classes < 1:
        raise BadInput(f"a network needs at least one class, got {classes}")
