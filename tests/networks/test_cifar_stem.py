"""torchvision's mobile and dense networks in the form for small images."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from condense import _torchvision, networks
from condense.errors import BadInput

ROWS = {
    "mobilenet-v2": ("mobilenet_v2", 4),  # torchvision's name, side of the last map at 32 pixels
    "shufflenet-v2": ("shufflenet_v2_x1_0", 4),
    "efficientnet-b0": ("efficientnet_b0", 2),
    "densenet-121": ("densenet121", 4),
}
every = pytest.mark.parametrize("name", ROWS)


def last_map(network: nn.Module, side: int) -> int:
    """Height of the last convolution's output."""
    sizes: list[int] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, __, output: sizes.append(output.shape[2]))
    network.to("meta").eval()(torch.empty(1, 3, side, side, device="meta"))
    return max(sizes[-1], 1)


@every
def test_the_last_map_has_the_published_size_at_32_pixels(name: str) -> None:
    assert last_map(networks.build(name, (3, 32, 32), 10), 32) == ROWS[name][1]


@every
def test_maps_keep_two_pixels_however_small_the_image(name: str) -> None:
    assert last_map(networks.build(name, (3, 8, 8), 10), 8) == 2


@every
def test_layers_are_those_of_torchvision_but_for_the_stem(name: str) -> None:
    ours = networks.build(name, (3, 32, 32), 1000)
    with torch.device("meta"):
        theirs = _torchvision.load("models").get_model(ROWS[name][0])
    shapes = [tuple(value.shape) for value in ours.state_dict().values()]
    published = [tuple(value.shape) for value in theirs.state_dict().values()]
    assert shapes[1:] == published[1:]
    assert shapes[0][1:] == (3, 3, 3)


@every
def test_a_forward_pass_draws_nothing(name: str) -> None:
    assert not networks.has_dropout(networks.build(name, (3, 8, 8), 10))


def test_a_width_that_torchvision_does_not_offer_is_refused() -> None:
    with pytest.raises(BadInput, match="the width of shufflenet-v2 is one of 50, 100, 150, 200, got 25"):
        networks.build("shufflenet-v2:width=25", (3, 32, 32), 10)


def test_an_image_of_one_pixel_is_refused() -> None:
    with pytest.raises(BadInput, match="this network needs images of at least 2x2 pixels, got 1x8; use mlp"):
        networks.build("mobilenet-v2", (3, 1, 8), 10)
