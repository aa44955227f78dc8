"""Kernel ridge regression against the normal equations, scikit-learn and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge as LinearRidge
from torch import Tensor
from torch.autograd import gradcheck

from condense import networks
from condense.data import load
from condense.errors import BadInput, Diverged
from condense.kernels import FREPO, KRR_ST, Ridge, dual_weights, factorise, gram, predict, ridge_weights
from condense.preprocessing import fit

RIDGES = [FREPO, KRR_ST, Ridge(0.3, "absolute"), Ridge(0.1, "trace"), Ridge(0.1, "mean-trace", detached=True)]
WIDE, TALL = (5, 9), (9, 5)  # fewer samples than features, and more: the two sides of the push-through identity
shapes = pytest.mark.parametrize("shape", [WIDE, TALL], ids=["wide", "tall"])
ridges = pytest.mark.parametrize("ridge", RIDGES, ids=str)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def value_of(ridge: Ridge, features: Tensor) -> float:
    """lambda, written out for each convention."""
    trace = float((features @ features.T).trace())
    return {
        "mean-trace": ridge.strength * trace / len(features),
        "trace": ridge.strength * trace,
        "absolute": ridge.strength,
    }[ridge.scale]


@shapes
@ridges
def test_the_weights_solve_the_normal_equations(shape: tuple[int, int], ridge: Ridge) -> None:
    features, targets = draw(*shape), draw(shape[0], 3, seed=1)
    normal = features.T @ features + value_of(ridge, features) * torch.eye(shape[1], dtype=torch.float64)
    expected = torch.linalg.lstsq(normal, features.T @ targets).solution
    # 1e-6: at the smallest ridge the normal equations themselves lose ten of sixteen digits.
    torch.testing.assert_close(ridge_weights(features, targets, ridge), expected, rtol=1e-6, atol=1e-6)


@shapes
@ridges
def test_predictions_equal_those_of_scikit_learn(shape: tuple[int, int], ridge: Ridge) -> None:
    features, targets, queries = draw(*shape), draw(shape[0], 3, seed=1), draw(4, shape[1], seed=2)
    alpha = value_of(ridge, features)
    kernel = KernelRidge(alpha=alpha).fit(features.numpy(), targets.numpy()).predict(queries.numpy())
    linear = LinearRidge(alpha=alpha, fit_intercept=False, solver="svd").fit(features.numpy(), targets.numpy())
    ours = (queries @ ridge_weights(features, targets, ridge)).numpy()
    by_gram = gram(features, queries) @ dual_weights(gram(features), targets, ridge)
    np.testing.assert_allclose(ours, kernel, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours, linear.predict(queries.numpy()), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(by_gram.numpy(), kernel, rtol=1e-6, atol=1e-6)


@shapes
@pytest.mark.parametrize("ridge", [r for r in RIDGES if not r.detached and r.strength > 1e-6], ids=str)
def test_gradients_of_the_weights_are_exact(shape: tuple[int, int], ridge: Ridge) -> None:
    features, targets = draw(*shape).requires_grad_(), draw(shape[0], 2, seed=1).requires_grad_()
    assert gradcheck(lambda x, y: ridge_weights(x, y, ridge), (features, targets))


@pytest.mark.parametrize("ridge", [Ridge(0.3, "absolute"), Ridge(0.1, "trace"), Ridge(0.1)], ids=str)
def test_gradients_of_the_dual_weights_are_exact(ridge: Ridge) -> None:
    half, targets = draw(5, 5), draw(5, 2, seed=1).requires_grad_()
    matrix = (half @ half.T).requires_grad_()
    assert gradcheck(lambda k, y: dual_weights(k, y, ridge), (matrix, targets))


@shapes
def test_a_detached_trace_is_a_constant_to_the_gradient(shape: tuple[int, int]) -> None:
    features, targets = draw(*shape).requires_grad_(), draw(shape[0], 2, seed=1)
    constant = Ridge(value_of(Ridge(0.1, "trace"), features.detach()), "absolute")
    ours, theirs, attached = (
        torch.autograd.grad(ridge_weights(features, targets, ridge).square().sum(), features)[0]
        for ridge in (Ridge(0.1, "trace", detached=True), constant, Ridge(0.1, "trace"))
    )
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours, attached)


def test_the_two_published_conventions_differ_by_the_number_of_samples() -> None:
    trace = torch.tensor(6.0)
    assert float(KRR_ST.value(trace, 3)) == pytest.approx(3 * float(FREPO.value(trace, 3)))
    assert float(FREPO.value(trace, 3)) == pytest.approx(2e-6)


def test_gradients_agree_between_both_sides_of_the_push_through_identity() -> None:
    wide, targets, incoming = draw(6, 6), draw(6, 2, seed=1), draw(7, 2, seed=2)
    # A column of zeros changes nothing, and moves the same problem to the other side.
    results = []
    for features in (torch.cat([wide, torch.zeros(6, 1, dtype=torch.float64)], 1), wide):
        features.requires_grad_()
        weights = ridge_weights(features, targets, Ridge(0.1))
        (slope,) = torch.autograd.grad((weights * incoming[: len(weights)]).sum(), features)
        results.append(slope[:, :6])
    torch.testing.assert_close(*results)


def test_the_gram_matrix_is_that_of_one_product() -> None:
    features = draw(601, 7)  # several stripes, the last one narrower
    torch.testing.assert_close(gram(features), features @ features.T)
    assert torch.equal(gram(features), gram(features).T)


@pytest.fixture(scope="module")
def digits() -> Tensor:
    """Features (600, D) float32 of real images under a random network."""
    train = load("digits").train
    network = networks.build("convnet:width=128", train.shape, 10, torch.Generator().manual_seed(0))
    images = fit("normalise", train).forward(train.take(torch.arange(600)))
    with torch.no_grad():
        return network.embed(images)


@pytest.mark.parametrize("ridge", [FREPO, KRR_ST], ids=["frepo", "krr-st"])
def test_single_precision_solves_the_equations_at_the_published_ridge(digits: Tensor, ridge: Ridge) -> None:
    features, targets = digits[:200], draw(200, 10, dtype=torch.float32)  # fewer samples than the 512 features
    dual = dual_weights(gram(features), targets, ridge).double()
    wide = features.double() @ features.double().T + value_of(ridge, features.double()) * torch.eye(200)
    assert float((wide @ dual - targets).norm() / targets.norm()) <= 1e-3
    assert _error_of_predictions(features, targets, ridge) <= 1e-3


@pytest.mark.parametrize("ridge", [FREPO, KRR_ST], ids=["frepo", "krr-st"])
def test_single_precision_solves_the_equations_at_the_published_size(ridge: Ridge) -> None:
    """1000 samples with 8192 features that are never negative, as those behind a ReLU, of real images."""
    pixels = load("digits").train.take(torch.arange(1000)).flatten(1).float()
    features = (pixels / 255 @ draw(pixels.shape[1], 8192, dtype=torch.float32)).relu()
    targets = draw(1000, 512, seed=1, dtype=torch.float32)
    dual = dual_weights(gram(features), targets, ridge).double()
    exact = features.double() @ features.double().T
    wide = exact + value_of(ridge, features.double()) * torch.eye(1000)
    assert float((wide @ dual - targets).norm() / targets.norm()) <= 1e-3


@pytest.mark.parametrize("ridge", [FREPO, KRR_ST], ids=["frepo", "krr-st"])
def test_more_samples_than_features_predict_well_in_single_precision(digits: Tensor, ridge: Ridge) -> None:
    assert _error_of_predictions(digits, draw(600, 10, dtype=torch.float32), ridge) <= 1e-3


@pytest.mark.parametrize("layers", [1, 2])
def test_a_ridge_below_the_rounding_of_the_matrix_is_refined(layers: int) -> None:
    """1000 samples with 2048 features, weights and gradients against float64; the bare factor leaves 2e-3 to 5e-3."""
    features = load("digits").train.take(torch.arange(1000)).flatten(1).float() / 255
    for layer in range(layers):
        features = (features @ draw(features.shape[1], 2048, seed=layer, dtype=torch.float32)).relu() / 45
    targets, queries = draw(1000, 10, seed=3, dtype=torch.float32), draw(300, 2048, seed=4, dtype=torch.float32)
    found, expected = (_weights_and_gradients(x, targets, queries) for x in (features, features.double()))
    for ours, exact in zip(found, expected, strict=True):
        assert float((ours - exact).norm() / exact.norm()) <= 1e-4


def _weights_and_gradients(features: Tensor, targets: Tensor, queries: Tensor) -> tuple[Tensor, ...]:
    features, targets = features.requires_grad_(), targets.to(features).requires_grad_()
    weights = ridge_weights(features, targets, FREPO)
    return weights.detach(), *torch.autograd.grad((queries.to(features) @ weights).square().mean(), (features, targets))


def _error_of_predictions(features: Tensor, targets: Tensor, ridge: Ridge) -> float:
    """Against float64, relative to the targets. Predictions, not weights, are what is used."""
    weights = ridge_weights(features, targets, ridge).double()
    exact = ridge_weights(features.double(), targets.double(), ridge)
    return float((features.double() @ (weights - exact)).norm() / targets.norm())


def test_repeated_samples_give_the_regressor_of_their_mean() -> None:
    features, targets = draw(3, 8), draw(6, 2)
    weights = ridge_weights(torch.cat([features, features]), targets, Ridge(1e-6))
    # |Phi w - a|² + |Phi w - b|² has the minimum of 2 |Phi w - (a + b) / 2|².
    torch.testing.assert_close(features @ weights, (targets[:3] + targets[3:]) / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ridge", [FREPO, KRR_ST], ids=["frepo", "krr-st"])
def test_repeated_samples_in_single_precision_have_finite_gradients(ridge: Ridge) -> None:
    features, targets = draw(30, 40, dtype=torch.float32), draw(60, 2, dtype=torch.float32)
    twice = torch.cat([features, features]).requires_grad_()
    weights = ridge_weights(twice, targets, ridge)
    weights.square().sum().backward()
    assert bool(weights.isfinite().all())
    assert twice.grad is not None
    assert bool(twice.grad.isfinite().all())


def test_a_matrix_that_rounding_made_indefinite_gets_a_jitter_of_that_size() -> None:
    half = draw(40, 3, dtype=torch.float32)
    matrix = half @ half.T
    matrix -= 3e-6 * matrix.diagonal().mean() * torch.eye(40)  # below zero by 25 times the rounding of float32
    factor = factorise(matrix, torch.zeros(()))
    assert 1e-6 < factor.jitter / float(matrix.diagonal().mean()) < 1e-4
    assert factorise(matrix, torch.tensor(1.0)).jitter == 0.0


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "is not positive definite.*raise the ridge"),
        (torch.tensor([[1.0, float("nan")], [float("nan"), 1.0]]), "not finite; lower the step size"),
        (torch.zeros(2, 2), "is not positive definite"),
    ],
    ids=["indefinite", "not-finite", "zero"],
)
def test_what_cannot_be_solved_is_an_error_and_no_result(matrix: Tensor, reason: str) -> None:
    with pytest.raises(Diverged, match=reason):
        dual_weights(matrix, torch.ones(2, 1), FREPO)


@pytest.mark.parametrize("ridge", [FREPO, KRR_ST], ids=["frepo", "krr-st"])
def test_a_diagonal_that_overflowed_is_an_error_and_no_regressor_of_zeros(ridge: Ridge) -> None:
    features = draw(*WIDE, dtype=torch.float32)
    features[0] *= 1e20
    with pytest.raises(Diverged, match="not finite"):
        ridge_weights(features, draw(5, 3, dtype=torch.float32), ridge)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((torch.ones(3, 2), torch.ones(2, 1)), r"got \(3, 2\) and \(2, 1\)"),
        ((torch.ones(3, 2).bfloat16(), torch.ones(3, 1)), "float32 or float64, got torch.bfloat16"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[Any, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        ridge_weights(*arguments, FREPO)
    with pytest.raises(BadInput, match="square, got"):
        dual_weights(torch.ones(3, 2), torch.ones(3, 1), FREPO)
    with pytest.raises(BadInput, match="positive and finite"):
        Ridge(0.0)
    with pytest.raises(BadInput, match="mean-trace, trace or absolute"):
        Ridge(1.0, "median")  # type: ignore[arg-type]


def test_autocast_does_not_reach_the_gram_matrix() -> None:
    features, targets = draw(6, 9, dtype=torch.float32), draw(6, 2, dtype=torch.float32)
    expected = ridge_weights(features, targets, FREPO)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ridge_weights(features, targets, FREPO), expected)


def test_predictions_do_not_depend_on_the_chunk() -> None:
    images, weights = draw(7, 1, 2, 2), draw(4, 3)
    whole, parts = (predict(lambda part: part.flatten(1), images, weights, chunk) for chunk in (7, 3))
    torch.testing.assert_close(whole, parts)
    torch.testing.assert_close(whole, images.flatten(1) @ weights)
