"""The Cholesky factor of a Gram matrix, with a stated policy for one that rounding made indefinite.

The products that fill a Gram matrix cost m² D operations and run in the type of the features; factor and solves cost
m³ / 3 and m² d, so they run in float64 always. What is left is the rounding of the matrix itself: with entries in
float32 its smallest eigenvalues move by some multiple of 1e-7 of its largest, which the published ridges hardly exceed.
Where the features are known and the ridge is below that rounding, a solution is refined once: its residual is computed
from the features in float64, at m D d operations, and the factor solves for the correction.

Where the matrix is indefinite, its diagonal is raised by a jitter, ten times larger at each attempt, from 10 eps times
its mean up to 10 eps times its sum, eps that of the matrix's own type. A matrix that is indefinite beyond that is an
error, not a result. Methods tell of jitters through `Jitters`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from condense.errors import Diverged


@dataclass(frozen=True)
class Factor:
    """K + (ridge + jitter) I = L Lᵀ."""

    lower: Tensor  # L, (m, m) float64
    jitter: float  # 0 unless the policy above was needed

    def solve(self, columns: Tensor) -> Tensor:
        """(K + (ridge + jitter) I)^-1 columns, float64.  columns: (m, d)."""
        return torch.cholesky_solve(columns.double(), self.lower)

    def refined(self, columns: Tensor, product: Callable[[Tensor], Tensor]) -> Tensor:
        """`solve` and one correction of it.  product: x (m, d) float64 -> (K + (ridge + jitter) I) x, not rounded."""
        found = self.solve(columns)
        return found + self.solve(columns - product(found))


OnJitter = Callable[[float], None]


@torch.no_grad()
def factorise(matrix: Tensor, ridge: Tensor, on_jitter: OnJitter | None = None) -> Factor:
    """The factor of a symmetric positive semi-definite matrix with `ridge` added to its diagonal.

    Only the lower triangle is read. One number is fetched from the device: whether the factorisation succeeded,
    with a diagonal that is finite.

    matrix: (m, m) float32 or float64.  ridge: a scalar.  on_jitter: called with a jitter where one was needed.

    Raises:
        Diverged: when the matrix is not finite, or indefinite beyond what rounding explains.
    """
    wide = matrix.double()
    wide = wide.clone() if wide is matrix else wide
    diagonal = wide.diagonal()
    diagonal += ridge
    lower, failed = torch.linalg.cholesky_ex(wide)
    # A diagonal that overflowed passes the factorisation where the ridge did too, and the regressor would be zero.
    failed = failed + ~torch.isfinite(diagonal).all()
    if not int(failed):
        return Factor(lower, 0.0)
    if not bool(torch.isfinite(matrix.tril()).all() & torch.isfinite(ridge)):
        raise Diverged("the Gram matrix holds values that are not finite; lower the step size of the images")
    count, mean, added = len(matrix), float(matrix.diagonal().double().mean()), 0.0
    for power in range(math.ceil(math.log10(count)) + 1):
        jitter = 10 * torch.finfo(matrix.dtype).eps * mean * min(10**power, count)
        diagonal += jitter - added
        added = jitter
        lower, failed = torch.linalg.cholesky_ex(wide)
        if not int(failed):
            if on_jitter is not None:
                on_jitter(jitter)
            return Factor(lower, jitter)
    raise Diverged(
        f"the Gram matrix of {count} samples is not positive definite, even with {added:.1e} on its diagonal of "
        f"mean {mean:.1e}; raise the ridge, or compute the Gram matrix in float64"
    )
