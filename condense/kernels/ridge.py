"""How much is added to the diagonal of a Gram matrix: the two published conventions, and a plain number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from condense.errors import BadInput

Scale = Literal["mean-trace", "trace", "absolute"]


@dataclass(frozen=True)
class Ridge:
    """lambda of (K + lambda I), for a Gram matrix K (m, m).

    mean-trace  lambda = strength tr(K) / m, a fraction of the mean diagonal entry (FRePo)
    trace       lambda = strength tr(K), m times as much (KRR-ST's code)
    absolute    lambda = strength

    Args:
        detached: the trace is a constant to the gradient (KRR-ST's code); otherwise images can change their own ridge.

    Raises:
        BadInput: for a strength that is not positive and finite, or another scale.
    """

    strength: float = 1e-6
    scale: Scale = "mean-trace"
    detached: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and self.strength > 0):
            raise BadInput(f"the strength of a ridge must be positive and finite, got {self.strength!r}")
        if self.scale not in ("mean-trace", "trace", "absolute"):
            raise BadInput(f"the scale of a ridge is mean-trace, trace or absolute, got {self.scale!r}")

    def value(self, trace: Tensor, count: int) -> Tensor:
        """lambda, for the trace of K and its number of rows m; differentiable unless detached."""
        if self.scale == "absolute":
            return trace.new_tensor(self.strength)
        return self._factor(count) * (trace.detach() if self.detached else trace)

    def part_of_trace(self, count: int) -> float:
        """lambda / tr(K) for m rows; 0 where lambda does not follow the trace."""
        return 0.0 if self.scale == "absolute" else self._factor(count)

    def slope(self, count: int) -> float:
        """The derivative of lambda by the trace of K."""
        return 0.0 if self.detached or self.scale == "absolute" else self._factor(count)

    def _factor(self, count: int) -> float:
        return self.strength / count if self.scale == "mean-trace" else self.strength


# Zhou, Nezhadarya & Ba, NeurIPS 2022, https://arxiv.org/abs/2206.00719, authors' code.
FREPO = Ridge(1e-6, "mean-trace", detached=False)
# Lee et al., ICLR 2024, https://arxiv.org/abs/2310.06511, authors' code: the trace is not divided by m.
KRR_ST = Ridge(1e-6, "trace", detached=True)
