"""The ridge regressor of features, or of any kernel, with gradients written out: one factor serves both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from condense.errors import BadInput
from condense.kernels.ridge import Ridge
from condense.kernels.solve import OnJitter, factorise

# A Gram matrix is made in stripes of rows that stop at the diagonal; four of them save three eighths of the work.
_STRIPES = 4
_NARROWEST = 128
# A sum over thousands of features loses digits in float32 that a small ridge needs: parts of it are summed apart.
_FEATURES = 2048


def gram(features: Tensor, others: Tensor | None = None) -> Tensor:
    """Inner products of rows: (m, m), exactly symmetric, or (n, m) against `others`.

    features: (m, D).  others: (n, D), the queries.  In the type of the features; for float64, widen them first.
    """
    if others is not None:
        return others @ features.T
    lower = _lower_gram(features)
    return lower.tril() + lower.tril(-1).T


def ridge_weights(features: Tensor, targets: Tensor, ridge: Ridge, on_jitter: OnJitter | None = None) -> Tensor:
    """W (D, d) = Phiᵀ (Phi Phiᵀ + lambda I)^-1 Y, which minimises |Phi W - Y|² + lambda |W|².

    Where D < m the same W comes from the D x D side, (Phiᵀ Phi + lambda I)^-1 Phiᵀ Y (push-through identity). Once
    differentiable in both arguments, at a cost linear in m for the gradient: with the incoming G = dJ/dW,
        alpha = (K + lambda I)^-1 Y,    beta = (K + lambda I)^-1 Phi G,
        dJ/dY = beta,    dJ/dPhi = alpha (G - Phiᵀ beta)ᵀ - beta Wᵀ - 2 lambda'(tr K) <alpha, beta> Phi.

    features: Phi (m, D), float32 or float64.  targets: Y (m, d), taken in the type of the features.
    on_jitter: see `factorise`.

    Raises:
        BadInput: for shapes that do not fit, or features in half precision.
        Diverged: see `factorise`.
    """
    _check(features, targets)
    with torch.autocast(features.device.type, enabled=False):
        weights: Tensor = _RidgeWeights.apply(features, targets.to(features.dtype), ridge, on_jitter)
    return weights


def dual_weights(matrix: Tensor, targets: Tensor, ridge: Ridge, on_jitter: OnJitter | None = None) -> Tensor:
    """alpha (m, d) = (K + lambda I)^-1 Y; once differentiable in both arguments.

    matrix: K (m, m), symmetric.  targets: Y (m, d).  on_jitter: see `factorise`.

    Raises:
        BadInput: for shapes that do not fit.
        Diverged: see `factorise`.
    """
    _check(matrix, targets)
    if matrix.shape[0] != matrix.shape[1]:
        raise BadInput(f"a Gram matrix is square, got {tuple(matrix.shape)}; for features use ridge_weights")
    with torch.autocast(matrix.device.type, enabled=False):
        weights: Tensor = _DualWeights.apply(matrix, targets.to(matrix.dtype), ridge, on_jitter)
    return weights


@torch.no_grad()
def predict(describe: Callable[[Tensor], Tensor], images: Tensor, weights: Tensor, chunk: int = 1024) -> Tensor:
    """Predictions (n, d) for any number of queries, `chunk` of them at a time.

    describe: images (B, C, H, W) -> features (B, D), or kernel values with the support (B, m).
    weights: (D, d) or (m, d) accordingly.
    """
    return torch.cat([describe(part) @ weights for part in images.split(chunk)])


def operations(support: int, queries: int, features: int, columns: int) -> float:
    """Of `ridge_weights`, predictions for the queries, and both gradients; a multiply-add counts as two.

    Counted are the products with the features: the Gram matrix, W and its two gradients, predictions and theirs.
    """
    side = min(support, features)
    triangle = 2.0 * side * support * features * (1 + 1 / _STRIPES) / 2
    return triangle + 2.0 * features * columns * (5 * support + 2 * queries)


class _System:
    """rows @ rowsᵀ + lambda I, factorised; rows (s, c) are Phi or, where D is the smaller, Phiᵀ."""

    def __init__(self, rows: Tensor, ridge: Ridge, count: int, on_jitter: OnJitter | None):
        matrix = _lower_gram(rows)
        self._ridge = ridge.value(matrix.diagonal().sum(), count)
        self._factor = factorise(matrix, self._ridge, on_jitter)
        # The rounding of the matrix can exceed such a ridge. With a jitter it is no longer the matrix of the rows.
        below = ridge.part_of_trace(count) < torch.finfo(rows.dtype).eps
        self._refines = below and rows.dtype == torch.float32 and not self._factor.jitter

    def solve(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Float64 (s, d), for columns (s, d)."""
        if not self._refines:
            return self._factor.solve(columns)
        return self._factor.refined(columns, lambda found: self._product(rows, found))

    def back(self, rows: Tensor, solution: Tensor) -> Tensor:
        """rowsᵀ @ solution (c, d), in float64 where solutions are refined."""
        if not self._refines:
            return rows.T @ solution.to(rows)
        return torch.cat([part.T.double() @ solution for part in rows.split(_FEATURES, dim=1)])

    def _product(self, rows: Tensor, found: Tensor) -> Tensor:
        product = found * self._ridge.double()
        for part in rows.split(_FEATURES, dim=1):
            wide = part.double()  # of a stretch at a time, which bounds the memory
            product += wide @ (wide.T @ found)
        return product


class _RidgeWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, targets: Tensor, ridge: Ridge, on_jitter: OnJitter | None) -> Tensor:
        count, size = features.shape
        ctx.wide, ctx.slope = count <= size, ridge.slope(count)
        rows = features if ctx.wide else features.T
        ctx.system = _System(rows, ridge, count, on_jitter)
        if ctx.wide:
            left = ctx.system.solve(rows, targets)  # alpha (m, d)
            weights = ctx.system.back(rows, left).to(features)
        else:
            weights = ctx.system.solve(rows, features.T @ targets).to(features)
            left = targets - features @ weights  # lambda alpha (m, d); not divided by a lambda that may be tiny
        ctx.save_for_backward(features, left.to(features), weights)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        (incoming,) = gradients  # G (D, d)
        features, left, weights = ctx.saved_tensors
        if ctx.wide:
            exact = ctx.system.solve(features, features @ incoming)
            right, beta = (incoming - ctx.system.back(features, exact)).to(features), exact.to(features)
        else:  # (Phiᵀ Phi + lambda I)^-1 G, which is (G - Phiᵀ beta) / lambda
            right = ctx.system.solve(features.T, incoming).to(features)
            beta = features @ right
        if not ctx.needs_input_grad[0]:
            return None, beta, None, None
        slope = (left @ right.T).addmm_(beta, weights.T, alpha=-1)
        if ctx.slope:
            along_ridge = (left * beta).sum() if ctx.wide else (weights * right).sum()  # <alpha, beta> either way
            slope.addcmul_(features, along_ridge, value=-2 * ctx.slope)
        return slope, beta, None, None


class _DualWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, targets: Tensor, ridge: Ridge, on_jitter: OnJitter | None) -> Tensor:
        count = len(matrix)
        ctx.slope = ridge.slope(count)
        # Both halves count, so that the gradient is that of a matrix whose entries are free.
        symmetric = (matrix + matrix.T) / 2
        ctx.factor = factorise(symmetric, ridge.value(symmetric.diagonal().sum(), count), on_jitter)
        dual = ctx.factor.solve(targets).to(matrix)
        ctx.save_for_backward(dual)
        return dual

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        (dual,) = ctx.saved_tensors
        beta = ctx.factor.solve(gradients[0]).to(dual)
        if not ctx.needs_input_grad[0]:
            return None, beta, None, None
        slope = beta @ dual.T
        slope = (slope + slope.T).mul_(-0.5)
        if ctx.slope:
            slope.diagonal().sub_(ctx.slope * (dual * beta).sum())
        return slope, beta, None, None


def _lower_gram(features: Tensor) -> Tensor:
    """features @ features.T where a Cholesky factorisation reads it; above the diagonal there may be zeros."""
    count = len(features)
    stripe = max(_NARROWEST, -(-count // _STRIPES))
    matrix = features.new_zeros((count, count))
    for part in features.split(_FEATURES, dim=1):
        for end in range(stripe, count + stripe, stripe):
            rows = slice(end - stripe, min(end, count))
            matrix[rows, :end] += part[rows] @ part[:end].T
    return matrix


def _check(rows: Tensor, targets: Tensor) -> None:
    if rows.ndim != 2 or targets.ndim != 2 or len(rows) != len(targets) or not len(rows):
        raise BadInput(
            f"expected m rows of features and m rows of targets, got {tuple(rows.shape)} and {tuple(targets.shape)}"
        )
    if rows.dtype not in (torch.float32, torch.float64):
        raise BadInput(f"a Gram matrix is summed in float32 or float64, got {rows.dtype}; widen the features first")
