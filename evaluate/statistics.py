"""The statistics of the leaderboard: intervals, paired differences, open ranks, the scores of other suites.

Accuracies are fractions in [0, 1] everywhere; tables turn them into points.

Runs are nested in sets. A run is one distillation seed with one evaluation seed; the evaluation seeds of one distilled
set say nothing about another distillation. An interval over runs treats them as independent and is called by that name
wherever it is printed: it tells how well the mean of *these* sets is known. What may be said of a *method* follows.

What is paired. Two methods are compared on the runs they share: same distillation seed, same evaluation seed, same
networks (the judge draws initial weights and batches from the last two alone). A method that draws nothing has one set,
and so has a reference: it stands beside each set of the other.

When one is ahead of the other at the 5 % level. By the number of distillation seeds that they share:
    three common distillation seeds or more   Student's paired t test over the mean differences of each seed
    two                                       both differences have one sign, and the t test over runs separates them:
                                              with one degree of freedom the test over sets could tell next to nothing
    one                                       the t test over runs; the claim is about these sets, not the methods
    neither draws                             the t test over runs, which differ in their evaluation seeds only
Where only one of the two draws, its partner's evaluation is in every difference: the test over runs must agree.

Which ranks a row may have. Every pair of rows is tested so, two-sided, and the p values of the table are corrected
together by Holm's step-down rule. The ranks left open to a row run from one more than the number of rows that are
better at the 5 % level after that correction to the number of rows that are not worse. Rows that share fewer than two
runs cannot be separated. When all differences are equal the t test is
undefined and the exact sign-flip test replaces it: p = 2^(1-n), or 1 when they are all zero.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, TypeVar

LEVEL = 0.95  # of every interval
ALPHA = 1 - LEVEL  # of every test, after correction

Run = tuple[int | None, int]  # distillation seed, None where nothing was drawn; evaluation seed
Key = TypeVar("Key", bound=Hashable)

# Differences of accuracies are multiples of 1 / (size of the test split) > 1e-7; below this, a spread is rounding.
_ROUNDING = 1e-9
_ENOUGH_SETS = 3  # for a test over sets; with two its interval is 12.7 standard errors to either side


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


@dataclass(frozen=True)
class Comparison:
    """How one method stands to another, first minus second, by the rule at the top of this module."""

    over_runs: Difference
    by_set: Mapping[int | None, float]  # mean difference of each common distillation seed; None alone: neither draws
    over_sets: Difference | None  # of three sets or more
    beside_one_set: bool  # one of the two draws, the other does not

    @property
    def mean(self) -> float:
        return self.over_runs.mean if self.over_sets is None else self.over_sets.mean

    @property
    def agree(self) -> bool:
        """Whether the mean differences of all sets have one sign."""
        return all(gap > 0 for gap in self.by_set.values()) or all(gap < 0 for gap in self.by_set.values())

    @property
    def p(self) -> float | None:
        """Of the claim that one is ahead; 1 where two sets disagree, None for a single run."""
        if self.over_sets is not None and self.over_sets.p is not None:
            return max(self.over_sets.p, self.over_runs.p or 0.0) if self.beside_one_set else self.over_sets.p
        return 1.0 if len(self.by_set) == 2 and not self.agree else self.over_runs.p

    @property
    def beats(self) -> bool:
        return self.mean > 0 and self.p is not None and self.p < ALPHA

    @property
    def loses(self) -> bool:
        return self.mean < 0 and self.p is not None and self.p < ALPHA

    @property
    def of_sets_only(self) -> bool:
        """Whether a single distillation stands for a method that would draw another."""
        return len(self.by_set) == 1 and None not in self.by_set


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
    return Summary(mean, std, n, _t_quantile(n - 1) * std / math.sqrt(n))


def paired(first: Mapping[Key, float], second: Mapping[Key, float]) -> Difference | None:
    """Difference over the keys that both have, each taken as independent; None when they share no key."""
    shared = [key for key in first if key in second]
    if not shared:
        return None
    differences = [first[key] - second[key] for key in shared]
    base = summary(differences)
    half = None if base.std is None or base.std < _ROUNDING else base.half
    return Difference(base.mean, base.std, base.n, half, _p_value(base))


def by_set(runs: Mapping[Run, float]) -> dict[int | None, float]:
    """Mean over the evaluation seeds of each distillation seed, in their order."""
    seeds = sorted({seed for seed, _ in runs}, key=lambda seed: (seed is None, seed or 0))
    return {seed: summary([value for run, value in runs.items() if run[0] == seed]).mean for seed in seeds}


def compare(first: Mapping[Run, float], second: Mapping[Run, float]) -> Comparison | None:
    """How `first` stands to `second`; None when they share no run."""
    pairs = {
        (mine if mine is not None else theirs, evaluation): first[mine, evaluation] - second[theirs, evaluation]
        for mine, evaluation in first
        for theirs in {seed for seed, other in second if other == evaluation and (seed == mine or None in (seed, mine))}
    }
    over_runs = paired(pairs, dict.fromkeys(pairs, 0.0))
    if over_runs is None:
        return None
    gaps = by_set(pairs)
    over_sets = paired(gaps, dict.fromkeys(gaps, 0.0)) if len(gaps) >= _ENOUGH_SETS else None
    drawn = [any(seed is not None for seed, _ in runs) for runs in (first, second)]
    return Comparison(over_runs, gaps, over_sets, drawn[0] != drawn[1])


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values of Holm's step-down procedure (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for position, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - position) * p_values[index]))
        corrected[index] = highest
    return corrected


def adjusted(comparisons: Iterable[Comparison | None]) -> list[float]:
    """p values of one family of comparisons, corrected together.

    What cannot be tested stays in the family with p = 1, so that the correction does not depend on luck.
    """
    return holm([1.0 if found is None or found.p is None else found.p for found in comparisons])


class Rank(NamedTuple):
    """The places in a table that the tests leave open to a row, counted from 1."""

    best: int
    worst: int

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


def ranks(rows: Sequence[Mapping[Run, float]], alpha: float = ALPHA) -> list[Rank]:
    """Ranks of each row by the rule at the top of this module; rows map a run to its accuracy."""
    pairs = list(combinations(range(len(rows)), 2))
    found = [compare(rows[i], rows[j]) for i, j in pairs]
    better, worse = [0] * len(rows), [0] * len(rows)  # than each row
    for (i, j), gap, p in zip(pairs, found, adjusted(found), strict=True):
        if gap is not None and p < alpha:
            ahead, behind = (i, j) if gap.mean > 0 else (j, i)
            better[behind] += 1
            worse[ahead] += 1
    return [Rank(1 + above, len(rows) - below) for above, below in zip(better, worse, strict=True)]


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


def _t_quantile(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + LEVEL / 2))


def _p_value(base: Summary) -> float | None:
    from scipy.special import stdtr

    if base.std is None:
        return None
    if base.std < _ROUNDING:
        return 1.0 if abs(base.mean) < _ROUNDING else 2.0 ** (1 - base.n)
    t = base.mean / (base.std / math.sqrt(base.n))
    return float(2 * stdtr(base.n - 1, -abs(t)))
