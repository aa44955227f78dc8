"""Bounded memory changes no value and no gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from condense import networks
from condense.kernels import embed, frozen_features, support_features


@pytest.fixture
def network() -> networks.Network:
    return networks.build("convnet-d2:width=4", (1, 8, 8), 3).double()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_checkpointed_features_have_the_gradient_of_plain_ones(network: networks.Network, images: Tensor) -> None:
    slopes = []
    for chunk in (None, 3):
        leaf = images.clone().requires_grad_()
        features = support_features(network.embed, leaf, chunk)
        torch.testing.assert_close(features.detach(), frozen_features(network.embed, images, 2))
        features.sin().sum().backward(inputs=[leaf])
        slopes.append(leaf.grad)
    torch.testing.assert_close(*slopes)


def test_checkpointed_features_keep_the_maps_of_no_image(network: networks.Network, images: Tensor) -> None:
    kept: list[Tensor] = []
    leaf = images.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t), t)[1], lambda t: t):
        support_features(network.embed, leaf, 3)
    assert not any(tensor.ndim == 4 and tensor.shape[1] == 4 for tensor in kept)  # 4: the width of the maps
    assert not frozen_features(network.embed, leaf, 3).requires_grad


def test_features_are_float32_or_wider_whatever_the_convolutions(network: networks.Network, images: Tensor) -> None:
    exact = embed(network, images)
    assert exact.dtype == torch.float64
    half = embed(network.float(), images.float(), "bfloat16")
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact.float(), rtol=0.1, atol=0.1)  # bfloat16 has eight bits
    assert not torch.equal(half, embed(network, images.float()))
