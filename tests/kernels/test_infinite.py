"""The kernels of infinite networks: by hand, against wide finite networks, and their gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from condense.errors import BadInput
from condense.kernels import InfiniteNetwork
from condense.kernels.infinite import arc_cosine_0, arc_cosine_1

SHAPE = (1, 3, 3)
EVERY = [InfiniteNetwork(kind, layers, 2) for kind in ("nngp", "ntk") for layers in ("dense", "conv")]
every = pytest.mark.parametrize("kernel", EVERY, ids=str)


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("angle", "zero", "one"), [(0.0, 1.0, 1.0), (math.pi / 2, 0.5, 1 / math.pi), (math.pi, 0, 0)])
def test_arc_cosines_at_three_angles(angle: float, zero: float, one: float) -> None:
    cosine = torch.tensor(math.cos(angle), dtype=torch.float64)
    assert float(arc_cosine_0(cosine)) == pytest.approx(zero, abs=1e-7)
    assert float(arc_cosine_1(cosine)) == pytest.approx(one, abs=1e-7)


def test_arc_cosines_have_exact_gradients() -> None:
    cosines = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64).requires_grad_()
    assert gradcheck(arc_cosine_0, (cosines,))
    assert gradcheck(arc_cosine_1, (cosines,))


def test_one_hidden_layer_by_hand() -> None:
    # Two orthogonal unit vectors: the covariance in front of the layer is 1/2 and 0, the angle 90 degrees.
    pair = torch.eye(2, dtype=torch.float64).view(2, 2, 1, 1)
    nngp = InfiniteNetwork("nngp", "dense", 1)(pair)
    torch.testing.assert_close(nngp, torch.tensor([[0.5, 0.5 / math.pi], [0.5 / math.pi, 0.5]], dtype=torch.float64))
    # Theta = K_1 + K_0 kappa_0: 1/2 + 1/2 on the diagonal, and nothing is added between orthogonal inputs.
    ntk = InfiniteNetwork("ntk", "dense", 1)(pair)
    torch.testing.assert_close(ntk, torch.tensor([[1.0, 0.5 / math.pi], [0.5 / math.pi, 1.0]], dtype=torch.float64))


class Wide(nn.Module):
    """A finite network in the same parametrisation: f = W sqrt(2 / fan in) everywhere but in the readout."""

    def __init__(self, layers: str, width: int):
        super().__init__()
        draws = torch.Generator().manual_seed(3)
        channels = 1 if layers == "conv" else 9
        shape = (3, 3) if layers == "conv" else (1, 1)
        area = 9 if layers == "conv" else 1
        self.layers = layers
        for name, size in (("first", (width, channels)), ("second", (width, width))):
            setattr(self, name, nn.Parameter(torch.randn(*size, *shape, generator=draws, dtype=torch.float64)))
        self.readout = nn.Parameter(torch.randn(width * area, generator=draws, dtype=torch.float64))

    def hidden(self, x: Tensor) -> Tensor:
        x = x if self.layers == "conv" else x.flatten(1)[:, :, None, None]
        for weight in (self.first, self.second):
            # The first layer has no factor 2: the scale of the inputs is not that of a ReLU.
            gain = 1.0 if weight is self.first else 2.0
            scaled = weight * math.sqrt(gain / weight[0].numel())
            x = torch.relu(nn.functional.conv2d(x, scaled, padding=weight.shape[2] // 2))
        return x.flatten(1) * math.sqrt(2.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(x) @ self.readout / math.sqrt(len(self.readout))


@pytest.mark.parametrize("layers", ["dense", "conv"])
def test_a_wide_network_approaches_the_kernels(layers: Any) -> None:
    x = images(4)
    network = Wide(layers, 400)
    features = network.hidden(x)
    empirical = features @ features.T / features.shape[1]
    exact = InfiniteNetwork("nngp", layers, 2)(x)
    # 400 channels: errors of the order of 1 / sqrt(400).
    torch.testing.assert_close(empirical.detach(), exact, rtol=0.15, atol=0.15 * float(exact.diagonal().mean()))
    slopes = torch.stack(
        [torch.cat([g.flatten() for g in torch.autograd.grad(network(x[i : i + 1]).sum(), list(network.parameters()))])
         for i in range(4)]
    )  # fmt: skip
    tangent = InfiniteNetwork("ntk", layers, 2)(x)
    torch.testing.assert_close(slopes @ slopes.T, tangent, rtol=0.2, atol=0.2 * float(tangent.diagonal().mean()))


@every
def test_the_gram_matrix_is_symmetric_and_its_rows_are_those_of_single_queries(kernel: InfiniteNetwork) -> None:
    x = images(5)
    whole = kernel(x)
    torch.testing.assert_close(whole, whole.T)
    torch.testing.assert_close(whole[:2], kernel(x[:2], x), rtol=1e-6, atol=1e-6)
    assert float(torch.linalg.eigvalsh(whole).min()) > 0
    torch.testing.assert_close(kernel(2 * x), 4 * whole)  # homogeneous in the scale of the images


@every
def test_gradients_are_exact_also_on_the_diagonal(kernel: InfiniteNetwork) -> None:
    x, y = images(2).requires_grad_(), images(1, seed=1).requires_grad_()
    assert gradcheck(lambda x: kernel(x), (x,), atol=1e-4)
    assert gradcheck(lambda x, y: kernel(x, y), (x, y), atol=1e-4)


@every
def test_equal_and_black_images_have_finite_gradients(kernel: InfiniteNetwork) -> None:
    x = torch.cat([images(1), images(1), torch.zeros(1, *SHAPE, dtype=torch.float64)]).float().requires_grad_()
    kernel(x).sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"kind": "gp"}, "nngp or ntk"), ({"layers": "dense3"}, "dense or conv"), ({"depth": 0}, "at least one hidden")],
)
def test_unknown_networks_are_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        InfiniteNetwork(**fields)
