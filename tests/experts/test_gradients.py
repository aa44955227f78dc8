from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condense import networks
from condense.experts.gradients import ExpertGradient, flat_gradient, input_penalty
from condense.flat import FlatNetwork
from condense.training import Engine

SHAPE = (2, 8, 8)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def quadratic(curvature: Tensor, slope: Tensor) -> object:
    """Gradient of w^T A w / 2 + b^T w, for rows w."""
    return lambda w: w @ curvature + slope


def test_gsam_on_a_case_computed_by_hand() -> None:
    # L(w) = (3 w1^2 + w2^2) / 2 at w = (1, 2), rho = 0.1: g = (3, 2), |w| g = (3, 4) of norm 5,
    # e = 0.1 * (1 * 3, 4 * 2) / 5 = (0.06, 0.16), h = (3.18, 2.16),
    # v = g - (<g, h> / <h, h>) h with <g, h> = 13.86 and <h, h> = 14.778.
    parameters = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    scales = torch.tensor([3.0, 1.0], dtype=torch.float64)
    along = 13.86 / 14.778
    orthogonal = (3.0 - along * 3.18, 2.0 - along * 2.16)
    found = flat_gradient(lambda w: w * scales, parameters, rho=0.1, alpha=0.5, adaptive=True)
    assert found[0].tolist() == pytest.approx([3.18 - 0.5 * orthogonal[0], 2.16 - 0.5 * orthogonal[1]], abs=1e-11)


def test_the_plain_perturbation_has_the_length_rho() -> None:
    parameters = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    asked: list[Tensor] = []

    def gradient(w: Tensor) -> Tensor:
        asked.append(w)
        return torch.tensor([[3.0, 4.0]], dtype=torch.float64)

    flat_gradient(gradient, parameters, rho=0.1, alpha=0.0, adaptive=False)
    assert (asked[1] - asked[0])[0].tolist() == pytest.approx([0.06, 0.08], abs=1e-12)
    assert torch.equal(asked[0], parameters)


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_gsam_follows_the_published_formula(alpha: float, adaptive: bool) -> None:
    """The authors' order of operations, one parameter tensor at a time, on a network."""
    network = networks.build("convnet-d2:width=4,activation=tanh", SHAPE, 3, torch.Generator().manual_seed(1)).double()
    flat = FlatNetwork(network)
    images, target = drawn(5, *SHAPE), torch.tensor([0, 1, 2, 0, 1])
    start = flat.flatten(network)

    def gradient(w: Tensor) -> Tensor:
        leaf = w[0].detach().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(flat.call(leaf, images), target), leaf)[0][None]

    found = flat_gradient(gradient, start[None], 0.05, alpha, adaptive)[0]

    parameters = list(network.parameters())
    clean = torch.autograd.grad(F.cross_entropy(network(images), target), parameters)
    weighted = [w.abs() * g if adaptive else g for w, g in zip(parameters, clean, strict=True)]
    norm = torch.stack([part.norm() for part in weighted]).norm()
    with torch.no_grad():
        for w, g in zip(parameters, clean, strict=True):
            w += (w**2 if adaptive else 1.0) * g * (0.05 / (norm + 1e-12))
    perturbed = torch.autograd.grad(F.cross_entropy(network(images), target), parameters)
    inner = sum(float((g * h).sum()) for g, h in zip(clean, perturbed, strict=True))
    old_norm = math.sqrt(sum(float(g.square().sum()) for g in clean))
    new_norm = math.sqrt(sum(float(h.square().sum()) for h in perturbed))
    cosine = inner / (new_norm * old_norm)
    vertical = [g - cosine * old_norm * h / new_norm for g, h in zip(clean, perturbed, strict=True)]
    expected = torch.cat([(h - alpha * v).flatten() for h, v in zip(perturbed, vertical, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


def test_what_alpha_weighs_is_orthogonal_to_the_perturbed_gradient() -> None:
    curvature = drawn(6, 6)
    gradient = quadratic(curvature @ curvature.T, drawn(6, seed=1))
    parameters = drawn(3, 6, seed=2)
    perturbed = flat_gradient(gradient, parameters, 0.1, 0.0, True)  # type: ignore[arg-type]
    removed = perturbed - flat_gradient(gradient, parameters, 0.1, 1.0, True)  # type: ignore[arg-type]
    products = (removed * perturbed).sum(dim=1)
    assert float(removed.norm()) > 1e-3
    torch.testing.assert_close(products, torch.zeros(3, dtype=torch.float64), rtol=0.0, atol=1e-10)


def test_the_directions_of_several_experts_do_not_mix() -> None:
    curvature = drawn(6, 6)
    gradient = quadratic(curvature @ curvature.T, drawn(6, seed=1))
    parameters = drawn(3, 6, seed=2) * torch.tensor([[1.0], [10.0], [0.1]], dtype=torch.float64)
    together = flat_gradient(gradient, parameters, 0.1, 0.3, True)  # type: ignore[arg-type]
    alone = torch.cat([flat_gradient(gradient, row[None], 0.1, 0.3, True) for row in parameters])  # type: ignore[arg-type]
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0.0)


def test_a_vanishing_gradient_gives_a_vanishing_step() -> None:
    found = flat_gradient(torch.zeros_like, torch.ones(2, 4), 0.1, 0.3, True)
    assert torch.equal(found, torch.zeros(2, 4))


def test_the_penalty_of_a_linear_network_is_that_of_its_weights() -> None:
    # f_c(x) = <W_c, x>: the slope of the sum over classes is sum_c W_c, the same for every image.
    linear = nn.Sequential(nn.Flatten(), nn.Linear(2 * 2 * 2, 3)).double()
    flat = FlatNetwork(linear)
    with torch.no_grad():
        linear[1].weight.zero_()
        linear[1].weight[0] = torch.tensor([3.0, 0.0, 1.0, 0.0, 4.0, 0.0, 0.0, 2.0])  # (C, H, W) = (2, 2, 2)
    # Over the two channels of each pixel: |(3, 4)| = 5, |(0, 0)| = 0, |(1, 0)| = 1, |(0, 2)| = 2.
    expected = ((5 - 1) ** 2 + (0 - 1) ** 2 + (1 - 1) ** 2 + (2 - 1) ** 2) / 4
    found = input_penalty(flat, flat.flatten(linear), drawn(7, 2, 2, 2))
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_the_penalty_equals_a_double_backward() -> None:
    network = networks.build("convnet-d2:width=4", SHAPE, 3, torch.Generator().manual_seed(1)).double()
    flat = FlatNetwork(network)
    parameters = flat.flatten(network).requires_grad_()
    (found,) = torch.autograd.grad(input_penalty(flat, parameters, drawn(5, *SHAPE)), parameters)

    images = drawn(5, *SHAPE).requires_grad_()
    (slope,) = torch.autograd.grad(network(images).sum(), images, create_graph=True)
    penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
    expected = torch.autograd.grad(penalty, list(network.parameters()), allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(found, torch.cat([part.flatten() for part in expected]), rtol=1e-10, atol=1e-13)


def test_the_loss_of_an_expert_is_weighed_cross_entropy_and_the_penalty_of_clean_images() -> None:
    network = networks.build("convnet-d2:width=4", SHAPE, 3, torch.Generator().manual_seed(1)).double()
    flat = FlatNetwork(network)
    images, clean, target = drawn(3, *SHAPE), drawn(3, *SHAPE, seed=1), torch.tensor([0, 1, 2])
    weight = torch.tensor(0.7, dtype=torch.float64)
    loss = ExpertGradient(flat, 2.0, Engine(precision="float64")).loss
    found = loss(flat.flatten(network), images, target, clean, weight)

    asked = clean.clone().requires_grad_()
    (slope,) = torch.autograd.grad(network(asked).sum(), asked)
    expected = 0.7 * F.cross_entropy(network(images), target) + 2.0 * ((slope.norm(dim=1) - 1) ** 2).mean()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0.0)
    alone = loss(flat.flatten(network), images, target, None, weight)
    torch.testing.assert_close(alone, 0.7 * F.cross_entropy(network(images), target), rtol=1e-10, atol=0.0)


def test_the_loss_of_an_expert_passes_gradcheck() -> None:
    network = networks.build("convnet-d2:width=2,activation=tanh", (1, 4, 4), 2, torch.Generator().manual_seed(1))
    flat = FlatNetwork(network.double())
    images, clean, target = drawn(3, 1, 4, 4), drawn(3, 1, 4, 4, seed=1), torch.tensor([0, 1, 0])
    weight = torch.tensor(0.7, dtype=torch.float64)
    loss = ExpertGradient(flat, 2.0, Engine(precision="float64")).loss
    parameters = flat.flatten(network).requires_grad_()
    assert torch.autograd.gradcheck(lambda at: loss(at, images, target, clean, weight), (parameters,), fast_mode=True)
