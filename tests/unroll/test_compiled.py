"""The form that is compiled: matrix products and forward-over-reverse instead of convolutions and a second backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._inductor.decomposition import select_decomp_table
from torch.nn import functional as F

from condense import networks
from condense.errors import BadInput
from condense.flat import FlatNetwork
from condense.unroll import Engine, outer_loss
from condense.unroll.adjoint import ConstantMemoryUnroll, Plan
from condense.unroll.compiled import Compiled, compiled_step
from condense.unroll.lowered import LoweredConvNet

# PyTorch 2.13 raises these itself when its rules of forward differentiation and its compiler are loaded; to be removed
# when it no longer does (2026-11).
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")

NETWORKS = [
    "convnet-d2:width=4",
    "convnet-d3:width=4,norm=none",
    "convnet-d1:width=4,norm=group,pooling=max",
    "convnet-d2:width=4,norm=layer,pooling=none,activation=softplus",
]


def uncompiled(given: Any, rows: int, *, half: bool = False, exact: bool = True) -> list[Tensor]:
    """Outer gradients by the functions that would be compiled, in pieces of `rows` images; TESLA's when not exact."""
    images, labels, step_size = given.leaves()
    inner, segment = given.parts()
    step = Compiled(inner.network, half, rows, build=lambda function: function)
    targets = labels.softmax(1) if given.soft else labels
    loss, _ = ConstantMemoryUnroll.apply(images, targets, step_size, Plan(inner, segment, step, exact))
    return list(torch.autograd.grad(loss, [leaf for leaf in (images, labels, step_size) if leaf.requires_grad]))


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
    found = form.logits(form.product(form.patches(images), lowered.first), lowered.rest)
    torch.testing.assert_close(found, module(images))


@pytest.mark.parametrize("norm", ["instance", "group", "layer"])
def test_norms_of_the_lowered_network_keep_their_digits_far_from_zero(norm: str) -> None:
    """Maps near 1000 that differ by 1: the mean square less the squared mean would have no digit left."""
    rng = torch.Generator().manual_seed(0)
    module = networks.build(f"convnet-d1:width=8,norm={norm}", (3, 16, 16), 3, rng)
    module.state_dict()["blocks.0.conv.bias"].fill_(1000.0)
    images = torch.randn(4, 3, 16, 16, generator=rng)
    network = FlatNetwork(module)
    form = LoweredConvNet(network, half=False)
    lowered = form.lower(network.flatten(module))
    found = form.logits(form.product(form.patches(images), lowered.first), lowered.rest)
    # Adding 1000 alone rounds off 6e-5 of the maps.
    torch.testing.assert_close(found, module.double()(images.double()).float(), atol=1e-3, rtol=0)


def test_a_black_image_has_a_finite_slope() -> None:
    module = networks.build("convnet-d2:width=8", (3, 16, 16), 3, torch.Generator().manual_seed(0))
    network = FlatNetwork(module)
    step = Compiled(network, half=False, rows=2, build=lambda function: function)
    slope = step.gradient(0, network.flatten(module).detach(), torch.zeros(2, 3, 16, 16), torch.tensor([0, 1]))
    assert slope.isfinite().all()


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


def test_without_curvature_it_is_tesla_in_float64(problem: Any, gap: Any) -> None:
    given = problem(augmented=True, batches=((0, 3, 5), (1, 2, 4)))  # prepared batches of six: pieces of four and two
    assert gap(uncompiled(given, 4, exact=False), given.gradients(Engine("tesla"))) < 1e-9


def _cosine(found: list[Tensor], expected: list[Tensor]) -> float:
    """The smallest, over the gradients."""
    pairs = zip(found, expected, strict=True)
    return min(float(F.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0)) for ours, theirs in pairs)


WIDE = {"dtype": torch.float32, "network": "convnet-d2:width=16", "inner": {"momentum": 0.5}}


def test_the_large_tiles_point_the_same_way_in_float32(problem: Any) -> None:
    """What `--compile` computes, but for the machine code; other orders of summation flip a few ReLUs."""
    given = problem(**WIDE)
    found, expected = uncompiled(given, 4), given.gradients(Engine())
    assert _cosine(found, expected) >= 0.999
    assert any(not torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("name", "half"),
    [("convnet-d2:width=4", False), ("convnet-d1:width=4,norm=group,pooling=max", True)],
)
def test_no_graph_holds_a_tensor_without_memory(problem: Any, name: str, half: bool) -> None:
    """Machine code reads the address of every operand, and a derivative that is a symbolic zero has none."""
    given = problem(network=name, dtype=torch.float32)
    seen: list[set[str]] = []

    def look(graph: torch.fx.GraphModule, examples: Any) -> torch.fx.GraphModule:
        seen.append({str(node.target) for node in graph.graph.nodes})
        return graph

    inner, _ = given.parts()
    backend = aot_autograd(fw_compiler=look, decompositions=select_decomp_table())
    torch.compiler.reset()
    step = Compiled(inner.network, half, 6, build=lambda it: torch.compile(it, backend=backend, fullgraph=True))
    step.warm_up(torch.zeros(1, 3, 8, 8))
    assert len(seen) == 2  # the gradient, and its change along a direction
    assert all(len(targets) > 10 for targets in seen)
    assert not [target for targets in seen for target in targets if "_efficientzerotensor" in target]


@pytest.mark.soak  # compiling takes half a minute on a quiet machine
def test_machine_code_gives_the_same_gradient(problem: Any) -> None:
    """Two blocks: the first is a product with patches, the second a convolution by large tiles."""
    given = problem(**WIDE)
    assert _cosine(given.gradients(Engine(compile=True)), given.gradients(Engine())) > 0.999


def test_a_step_is_built_once_for_each_network_and_size(problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("condense.unroll.compiled.machine_code", lambda function: function)
    given = problem(dtype=torch.float32)
    network, example = given.parts()[0].network, torch.zeros(1, 3, 8, 8)
    first = compiled_step(network, False, 6, example)
    assert compiled_step(network, False, 6, example) is first
    assert compiled_step(network, False, 60, example) is not first  # pieces of 20
    assert compiled_step(given.parts()[0].network, False, 6, example) is not first


def test_only_the_convnet_is_compiled(problem: Any) -> None:
    given = problem(network="mlp")
    inner, segment = given.parts()
    images, labels, step_size = given.leaves()
    with pytest.raises(BadInput, match="written for the ConvNet, and this is MLP; use an engine with compile=False"):
        outer_loss(inner, segment, images, labels.softmax(1), step_size, Engine(compile=True))
    with pytest.raises(BadInput, match="'unroll' keeps graphs of autograd and is not compiled"):
        Engine("unroll", compile=True)
