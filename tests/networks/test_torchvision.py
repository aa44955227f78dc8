"""torchvision's classifiers as networks of this package."""

from __future__ import annotations

import pytest
import torch

from condense import _torchvision, networks
from condense.errors import BadInput, UnknownName

NAME, SHAPE = "torchvision:shufflenet_v2_x0_5", (3, 32, 32)


def seeded(seed: int = 2) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_is_the_network_that_torchvision_builds() -> None:
    network = networks.build(NAME, SHAPE, 7, seeded()).eval()
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=seeded())))
        original = _torchvision.load("models").shufflenet_v2_x0_5(num_classes=7).eval()
    images = torch.randn(2, *SHAPE, generator=seeded())
    assert torch.equal(network(images), original(images))
    assert torch.equal(network.classifier(network.embed(images)), network(images))


def test_weights_come_from_the_generator_alone_and_initialising_repeats_them() -> None:
    before = torch.get_rng_state()
    network, other = networks.build(NAME, SHAPE, 7, seeded()), networks.build(NAME, SHAPE, 7, seeded(3))
    networks.initialise(other, seeded())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in network.state_dict().items())


def test_grey_images_are_repeated_to_three_channels() -> None:
    network = networks.build(NAME, (1, 32, 32), 7, seeded()).eval()
    grey = torch.randn(2, 1, 32, 32, generator=seeded())
    assert torch.equal(network(grey), network(grey.repeat(1, 3, 1, 1)))


def test_vision_transformers_are_built_for_the_image_size() -> None:
    network = networks.build("torchvision:vit_b_16", (3, 32, 32), 3, seeded()).to("meta")
    assert network(torch.empty(1, 3, 32, 32, device="meta")).shape == (1, 3)


def test_dropout_is_recognised() -> None:
    assert networks.has_dropout(networks.build("torchvision:mobilenet_v3_small", SHAPE, 3))  # Dropout
    assert networks.has_dropout(networks.build("torchvision:efficientnet_b0", SHAPE, 3))  # StochasticDepth
    assert not networks.has_dropout(networks.build(NAME, SHAPE, 3))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("torchvision:resnet_18", SHAPE, "unknown torchvision classifier 'resnet_18'; did you mean resnet18"),
        (NAME, (2, 32, 32), "torchvision:shufflenet_v2_x0_5 takes images with 1 or 3 channels, got 2"),
        ("torchvision:squeezenet1_1", SHAPE, "torchvision:squeezenet1_1 does not end in a linear layer"),
        ("torchvision:alexnet", (3, 8, 8), "torchvision:alexnet cannot take images of 8x8 pixels ("),
        ("torchvision:vit_b_16", (3, 40, 40), "torchvision:vit_b_16 cannot take images of 40x40 pixels ("),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises((BadInput, UnknownName)) as caught:
        networks.build(name, shape, 3)
    assert str(caught.value).startswith(message)
