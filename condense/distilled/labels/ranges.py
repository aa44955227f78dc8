"""Values of stored labels: finite, and in the range of what they stand for; one pass over each tensor."""

from __future__ import annotations

import math
import sys

from torch import Tensor

LARGEST = sys.float_info.max
_ROUNDING = 2e-2  # by which a probability in half precision may leave [0, 1]


def misfit(name: str, values: Tensor, least: float = -LARGEST, most: float = LARGEST) -> str | None:
    """What is wrong with the values of a field; nothing when all are finite and within the ends."""
    if not values.numel():
        return None
    low, high = (float(end) for end in values.aminmax())  # one that is not a number is both
    if least <= low and high <= most:
        return None
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"has values of {name} that are not finite"
    return f"has {name} from {low:g} to {high:g}, expected {_bounds(least, most)}"


def target_misfit(name: str, values: Tensor, form: str) -> str | None:
    """The same of probabilities, or of logits."""
    if form == "probabilities":
        return misfit(name, values, -_ROUNDING, 1 + _ROUNDING)
    return misfit(name, values)


def _bounds(least: float, most: float) -> str:
    if most == LARGEST:
        return f"at least {least:g}"
    return f"{round(least):g} to {round(most):g}"
