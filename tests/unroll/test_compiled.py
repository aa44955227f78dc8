"""The form that is compiled: matrix products and forward-over-reverse instead of convolutions and a second backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from condense import networks
from condense.errors import BadInput
from condense.flat import FlatNetwork
from condense.unroll import Engine, outer_loss
from condense.unroll.adjoint import Sweep
from condense.unroll.compiled import Compiled
from condense.unroll.lowered import LoweredConvNet
from condense.unroll.winograd import LARGE, SMALL, Filtering, convolve, transformed_kernels

# PyTorch 2.13 raises these itself when its rules of forward differentiation and its compiler are loaded; to be removed
# when it no longer does (2026-11).
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")

NETWORKS = [
    "convnet-d2:width=4",
    "convnet-d3:width=4,norm=none",
    "convnet-d1:width=4,norm=group,pooling=max",
    "convnet-d2:width=4,norm=layer,pooling=none,activation=softplus",
]


def uncompiled(given: Any, rows: int, *, half: bool = False) -> list[Tensor]:
    """Outer gradients by the functions that would be compiled, in pieces of `rows` images."""
    images, labels, step_size = given.leaves()
    inner, segment = given.parts()
    step = Compiled(inner.network, half, rows, build=lambda function: function)
    targets = labels.softmax(1) if given.soft else labels
    loss, _ = Sweep.apply(images, targets, step_size, inner, segment, step, True)
    return list(torch.autograd.grad(loss, [leaf for leaf in (images, labels, step_size) if leaf.requires_grad]))


@pytest.mark.parametrize("filtering", [SMALL, LARGE], ids=["2x2", "4x4"])
@pytest.mark.parametrize("shape", [(2, 5, 8, 8), (1, 3, 4, 12), (2, 2, 7, 5), (1, 1, 1, 2)])
def test_minimal_filtering_is_the_convolution(filtering: Filtering, shape: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(shape, generator=rng, dtype=torch.float64)
    weight = torch.randn(6, shape[1], 3, 3, generator=rng, dtype=torch.float64)
    found = convolve(maps.permute(0, 2, 3, 1), transformed_kernels(weight, filtering), filtering)
    torch.testing.assert_close(found.permute(0, 3, 1, 2), F.conv2d(maps, weight, padding=1))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 28, 28), (2, 11, 14)])
def test_the_lowered_network_is_the_network(name: str, shape: tuple[int, int, int]) -> None:
    rng = torch.Generator().manual_seed(0)
    module = networks.build(name, shape, 3, rng).double()
    for parameter in module.parameters():  # away from gains of 1 and biases of 0
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    images = torch.randn(4, *shape, generator=rng, dtype=torch.float64)
    network = FlatNetwork(module)
    form = LoweredConvNet(network, half=False)
    lowered = form.lower(network.flatten(module))
    found = form.logits(lowered, form.product(form.patches(images), lowered[0]))
    torch.testing.assert_close(found, module(images))


@pytest.mark.parametrize(
    ("case", "rows"),
    [
        ({}, 6),
        ({}, 4),  # the second piece is half empty
        ({"soft": False}, 3),
        ({"network": "convnet-d1:width=4,norm=none"}, 5),
        (
            {
                "batches": ((0, 3, 5, 1), (2, 4), (5, 0, 2, 3)),
                "augmented": True,
                "middle": True,
                "inner": {"momentum": 0.9, "scale": 0.7},
            },
            3,
        ),
    ],
)
def test_it_equals_the_textbook_in_float64(problem: Any, gap: Any, case: dict[str, Any], rows: int) -> None:
    given = problem(**case)
    assert gap(uncompiled(given, rows), given.gradients(Engine("higher"))) < 1e-9


def test_bfloat16_points_the_same_way(problem: Any) -> None:
    given = problem(dtype=torch.float32, network="convnet-d2:width=16")
    exact = given.gradients(Engine())
    for found in (uncompiled(given, 6, half=True), given.gradients(Engine(bfloat16=True))):
        for ours, theirs in zip(found, exact, strict=True):
            # 8 bits of mantissa: rounding by up to 0.4 % in each product, and some ReLUs flip.
            assert float(F.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0)) > 0.99
            assert 0 < float((ours - theirs).norm() / theirs.norm()) < 0.15


@pytest.mark.soak  # compiling takes 15 s on a quiet machine
def test_machine_code_gives_the_same_gradient(problem: Any) -> None:
    given = problem(network="convnet-d1:width=4", dtype=torch.float32, inner={"momentum": 0.5})
    pairs = zip(given.gradients(Engine(compile=True)), given.gradients(Engine()), strict=True)
    assert min(float(F.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0)) for ours, theirs in pairs) > 0.999


def test_only_the_convnet_is_compiled(problem: Any) -> None:
    given = problem(network="mlp")
    inner, segment = given.parts()
    images, labels, step_size = given.leaves()
    with pytest.raises(BadInput, match="written for the ConvNet, and this is MLP; use an engine with compile=False"):
        outer_loss(inner, segment, images, labels.softmax(1), step_size, Engine(compile=True))
    with pytest.raises(BadInput, match="'unroll' keeps graphs of autograd and is not compiled"):
        Engine("unroll", compile=True)
