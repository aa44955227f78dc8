"""The statistics of the leaderboard: intervals, paired differences, Holm's correction, the scores of other suites.

Accuracies are fractions in [0, 1] everywhere; tables turn them into points. What follows from runs that are nested in
sets, and who is ahead of whom, stands in `comparisons`.

When all differences are equal the t test is undefined and the exact sign-flip test replaces it: p = 2^(1-n), or 1 when
they are all zero.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

LEVEL = 0.95  # of every interval
ALPHA = 1 - LEVEL  # of every test, after correction

Run = tuple[int | None, int]  # distillation seed, None where nothing was drawn; evaluation seed
Key = TypeVar("Key", bound=Hashable)

# Differences of accuracies are multiples of 1 / (size of the test split) > 1e-7; below this, a spread is rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Summary:
    """Mean of n values; the spread is None where one value cannot show it."""

    mean: float
    std: float | None  # sample standard deviation, n - 1 below the root
    n: int
    half: float | None  # half of the 95 % interval of the mean: t(n - 1) * std / sqrt(n)


@dataclass(frozen=True)
class Difference:
    """Mean of n paired differences taken as independent, first minus second.

    There is no interval for fewer than two pairs, nor where all differences are equal; p is two-sided, and None for
    fewer than two pairs.
    """

    mean: float
    std: float | None
    n: int
    half: float | None
    p: float | None


def summary(values: Sequence[float]) -> Summary:
    """Mean, sample standard deviation and Student's 95 % interval of values taken as independent.

    Raises:
        ValueError: for no values at all.
    """
    n = len(values)
    if n == 0:
        raise ValueError("a mean needs at least one value, got none")
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(mean, None, 1, None)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return Summary(mean, std, n, t_quantile(n - 1) * std / math.sqrt(n))


def paired(first: Mapping[Key, float], second: Mapping[Key, float]) -> Difference | None:
    """Difference over the keys that both have, each taken as independent; None when they share no key."""
    shared = [key for key in first if key in second]
    if not shared:
        return None
    differences = [first[key] - second[key] for key in shared]
    base = summary(differences)
    error = None if base.std is None else base.std / math.sqrt(base.n)
    half, p = student(base.mean, error, base.n, base.n - 1)
    return Difference(base.mean, base.std, base.n, half, p)


def student(mean: float, error: float | None, n: int, freedom: int) -> tuple[float | None, float | None]:
    """Half of the 95 % interval and the two-sided p value of a mean of n differences; None for what cannot be told.

    error: the standard error of the mean, which has `freedom` degrees of freedom.
    """
    from scipy.special import stdtr

    if error is None:
        return None, None
    if error * math.sqrt(n) < _ROUNDING:
        return None, 1.0 if abs(mean) < _ROUNDING else 2.0 ** (1 - n)
    return t_quantile(freedom) * error, float(2 * stdtr(freedom, -abs(mean / error)))


def by_set(runs: Mapping[Run, float]) -> dict[int | None, float]:
    """Mean over the evaluation seeds of each distillation seed, in their order."""
    seeds = sorted({seed for seed, _ in runs}, key=lambda seed: (seed is None, seed or 0))
    return {seed: summary([value for run, value in runs.items() if run[0] == seed]).mean for seed in seeds}


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values of Holm's step-down procedure (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for position, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - position) * p_values[index]))
        corrected[index] = highest
    return corrected


def t_quantile(freedom: int) -> float:
    """How many standard errors the 95 % interval reaches to either side."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + LEVEL / 2))


def improvement_over_random(set_accuracy: float, random_accuracy: float) -> float:
    """IOR, higher is better: accuracy of the set minus that of a random subset of the same size, same protocol."""
    return set_accuracy - random_accuracy


def hard_label_recovery(full_accuracy: float, set_accuracy: float) -> float:
    """HLR, lower is better: accuracy of the whole training set minus that of the set, both with hard labels."""
    return full_accuracy - set_accuracy


def label_robust_score(ior: float, hlr: float, weight: float = 0.5) -> float:
    """LRS of DD-Ranking (arXiv 2505.13300), from fractions: exp of w * IOR - (1 - w) * HLR, scaled so that 1 gives 1.

    Raises:
        ValueError: for values that are not fractions; the published code fed percentages in, which is out of range.
    """
    return _scaled(_weighted("IOR", ior, "-HLR", -hlr, weight))


def augmentation_robust_score(ior_augmented: float, ior_plain: float, weight: float = 0.5) -> float:
    """ARS of DD-Ranking (arXiv 2505.13300), from the IOR with and without augmentation, both fractions.

    Raises:
        ValueError: for values that are not fractions.
    """
    return _scaled(_weighted("IOR with augmentation", ior_augmented, "IOR without", ior_plain, weight))


def _weighted(name: str, value: float, other_name: str, other: float, weight: float) -> float:
    for label, number in ((name, value), (other_name, other)):
        if not -1.0 <= number <= 1.0:
            raise ValueError(f"{label} must be a fraction in [-1, 1], got {number}; divide points by 100")
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"weight must lie in [0, 1], got {weight}")
    return weight * value + (1 - weight) * other


def _scaled(alpha: float) -> float:
    return (math.exp(alpha) - math.exp(-1)) / (math.e - math.exp(-1))
