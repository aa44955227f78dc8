"""Names, knobs, refusals, and facts about networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from condense import networks
from condense.errors import BadInput, UnknownName


def test_every_row_is_listed_described_and_can_be_built() -> None:
    expected = {f"convnet-d{depth}" for depth in range(1, 7)} | {"convnet", "mlp", "lenet", "alexnet", "vgg11", "vit"}
    expected |= {"resnet10", "resnet18", "resnet34", "resnet50", "resnet101"}
    expected |= {"mobilenet-v2", "shufflenet-v2", "efficientnet-b0", "densenet-121"}
    assert set(networks.names()) == expected
    for name in networks.names():
        assert networks.describe(name).summary
        assert networks.build(name, (3, 64, 64), 3).classifier.out_features == 3


def test_knobs_are_read_from_the_name() -> None:
    network = networks.build("convnet-d2:width=24,norm=batch,pooling=max", (3, 16, 16), 5)
    assert network.blocks[1].conv.weight.shape == (24, 24, 3, 3)
    assert isinstance(network.blocks[0].norm, nn.BatchNorm2d)
    assert network.pooling == "max"
    described = networks.describe("convnet-d2:width=24")
    defaults = {"growth": 1, "norm": "instance", "norm_at": "output", "pooling": "avg", "activation": "relu"}
    assert described.knobs == {"width": 24, **defaults}


def test_a_convnet_without_depth_is_as_deep_as_the_papers_make_it() -> None:
    depths = {side: len(networks.build("convnet:width=4", (1, side, side), 2).blocks) for side in (8, 28, 32, 64, 128)}
    assert depths == {8: 2, 28: 3, 32: 3, 64: 4, 128: 5}
    assert len(networks.build("convnet:width=4", (1, 256, 256), 2).blocks) == 6


def test_one_network_has_one_canonical_name() -> None:
    assert networks.canonical("convnet-d3:width=128") == "convnet-d3"
    assert networks.canonical("convnet-d3:width=32,norm=batch") == "convnet-d3:norm=batch,width=32"
    assert networks.canonical("torchvision:resnet18") == "torchvision:resnet18"
    for ask in (networks.canonical, networks.describe):
        with pytest.raises(UnknownName, match="unknown torchvision classifier 'resnet81'; did you mean resnet18"):
            ask("torchvision:resnet81")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convnet-d7", "unknown network 'convnet-d7'; did you mean convnet-d"),
        ("resnet19", "unknown network 'resnet19'; did you mean resnet1"),
        ("convnet-d3:widht=3", "unknown knob of convnet-d3 'widht'; did you mean width?"),
        ("convnet-d3:depth=3", "unknown knob of convnet-d3 'depth'"),
        ("convnet-d3:norm=instanse", "unknown norm 'instanse'; did you mean instance?"),
        ("convnet-d3:pooling=mean", "unknown pooling 'mean'"),
        ("mlp:activation=relo", "unknown activation 'relo'; did you mean relu"),
        ("convnet-d3:width", "each knob stands once and with a value, got 'convnet-d3:width'; write for example"),
        ("convnet-d3:width=3,width=4", "each knob stands once and with a value"),
        ("convnet-d3:width=0", "width of convnet-d3 must be a whole number of at least 1, got '0'"),
        ("convnet-d3:width=1.5", "width of convnet-d3 must be a whole number of at least 1, got '1.5'"),
        ("convnet-d3:width=10,norm=group", "norm=group has 4 groups, which do not divide 10 channels"),
        ("vit:width=30,heads=4", "the width of a vit is a multiple of its heads, got width=30, heads=4"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest_names(name: str, message: str) -> None:
    with pytest.raises((BadInput, UnknownName)) as caught:
        networks.build(name, (3, 32, 32), 10)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            "convnet-d4",
            (1, 8, 8),
            "convnet-d4 halves the image 4 times; 8x8 pixels allow 3, use convnet-d3 or pooling=none",
        ),
        ("convnet-d1", (1, 1, 5), "convnet-d1 halves the image 1 times; 1x5 pixels allow 0, use pooling=none"),
        ("lenet", (1, 3, 9), "lenet halves the image twice and needs 4x4 pixels, got 3x9; use mlp"),
        ("alexnet", (1, 7, 7), "alexnet halves the image 3 times and needs 8x8 pixels, got 7x7; use mlp"),
        ("vgg11", (1, 1, 1), "vgg11 needs images of at least 2x2 pixels, got 1x1; use mlp"),
        ("resnet18", (1, 1, 1), "resnet needs images of at least 2x2 pixels, got 1x1; use mlp"),
        ("mlp", (0, 8, 8), "an image shape is (channels, height, width), all at least 1, got (0, 8, 8)"),
    ],
)
def test_images_that_are_too_small_are_refused_with_a_way_out(
    name: str, shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        networks.build(name, shape, 10)
    assert str(caught.value) == message


def test_a_network_needs_a_class() -> None:
    with pytest.raises(BadInput, match="a network needs at least one class, got 0"):
        networks.build("mlp", (1, 8, 8), 0)
    assert networks.build("mlp", (1, 8, 8), 1)(torch.zeros(2, 1, 8, 8)).shape == (2, 1)


def test_layers_of_unknown_distribution_are_refused_rather_than_left_as_they_are() -> None:
    with pytest.raises(BadInput, match=r"no distribution is known for the parameters of PReLU; give it a method draw"):
        networks.initialise(nn.Sequential(nn.Linear(2, 2), nn.PReLU()), torch.Generator())


def test_batch_statistics_and_dropout_are_recognised() -> None:
    shape = (1, 8, 8)
    assert networks.uses_batch_statistics(networks.build("convnet-d2:norm=batch", shape, 2))
    assert not networks.uses_batch_statistics(networks.build("convnet-d2", shape, 2))
    assert not any(networks.has_dropout(networks.build(name, shape, 2)) for name in ("vit", "alexnet", "vgg11"))
    assert networks.has_dropout(nn.Sequential(nn.Dropout(0.1)))
    assert not networks.has_dropout(nn.Sequential(nn.Dropout(0.0)))


def test_operations_are_two_for_each_multiply_add() -> None:
    # mlp: 64*16 + 16*16 + 16*3 products.  convnet: 9 * 8 products a pixel of 8x8, then 8*4*4 * 3.
    assert networks.operations(networks.build("mlp:width=16", (1, 8, 8), 3), (1, 8, 8)) == 2 * (1024 + 256 + 48)
    convnet = networks.build("convnet-d1:width=8", (1, 8, 8), 3)
    assert networks.operations(convnet, (1, 8, 8)) == 2 * (9 * 8 * 64 + 128 * 3)


def test_activation_bytes_are_what_backward_needs_and_do_not_touch_the_network() -> None:
    # Kept in float32: the image (64), the convolution's output (512) and the norm's in place of its activation (512),
    # two statistics for each of 8 channels (16), and the flattened pooled map (128).
    network = networks.build("convnet-d1:width=8", (1, 8, 8), 3).eval()
    assert networks.activation_bytes(network, (1, 8, 8)) == 4 * (64 + 512 + 512 + 16 + 128)
    assert not network.training
    batch_norm = networks.build("convnet-d1:width=8,norm=batch", (1, 8, 8), 3)
    networks.activation_bytes(batch_norm, (1, 8, 8))
    assert batch_norm.blocks[0].norm.num_batches_tracked == 0
