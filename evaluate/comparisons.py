"""Who is ahead of whom: comparisons of methods whose runs are nested in distilled sets, and the ranks left open.

A run is one distillation seed with one evaluation seed; the evaluation seeds of one distilled set say nothing about
another distillation. So a claim about a *method* needs the variance between its sets, and two or three sets alone show
it badly. It is taken from all rows of a table (one protocol, data set, budget and networks):

What is paired. Two methods are compared on the runs they share: same distillation seed, same evaluation seed, same
networks (the judge draws initial weights and batches from the last two alone). A method that draws nothing has one set,
and so has a reference: it stands beside each set of the other.

How sets vary. The variance between a row's sets is that of their means over the evaluation seeds that the pair shares,
pooled over all rows of the table that have several sets at these seeds, with one degree of freedom less than sets for
each row. Rows need not vary alike, so a row's variance is never taken to be less than its own sets show. What sets of
one seed share in all rows is not removed, which makes the variance too large rather than too small. The difference of
two methods over S sets has the variance (v + v') / S, and Student's t test those degrees of freedom. A row that draws
nothing varies with its evaluations: v' / S is then the variance between evaluation seeds of one set, pooled likewise,
over their number, and the degrees of freedom are the fewer of the two.

When one is ahead of the other at the 5 % level. By the number of distillation seeds that they share:
    two or more      the test over sets, and the paired t test over runs must agree: sets judged on the same evaluation
                     seeds cannot show what these favour in a method. The larger p counts
    one              the t test over runs; the claim is about these sets, not the methods
    neither draws    the t test over runs, which differ in their evaluation seeds only
Where no row has several sets, nothing is claimed about methods.

Which ranks a row may have. Every pair of rows is tested so, two-sided, and the p values of the table are corrected
together by Holm's step-down rule. The ranks left open to a row run from one more than the number of rows that are
better at the 5 % level after that correction to the number of rows that are not worse. Rows that share fewer than two
runs cannot be separated.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

from condense.evaluate.statistics import (
    ALPHA,
    Difference,
    Run,
    Summary,
    by_set,
    holm,
    paired,
    student,
    summary,
    t_quantile,
)

Runs = Mapping[Run, float]  # the accuracies of one row


class Variance(NamedTuple):
    """An estimate of a variance and its degrees of freedom."""

    value: float
    freedom: int


@dataclass(frozen=True)
class Comparison:
    """How one method stands to another, first minus second, by the rule at the top of this module."""

    over_runs: Difference
    by_set: Mapping[int | None, float]  # mean difference of each common distillation seed; None alone: neither draws
    over_sets: Difference | None  # of two sets or more, with the spread that the table shows

    @property
    def mean(self) -> float:
        return self.over_runs.mean if self.over_sets is None else self.over_sets.mean

    @property
    def decisive(self) -> Difference:
        """The one of the two whose p value counts, the larger, with its interval."""
        sets, runs = self.over_sets, self.over_runs
        if sets is None:
            return runs
        once_each = runs.n == sets.n  # with one evaluation of each set both look at the same values
        return sets if once_each or sets.p is None or runs.p is None or runs.p <= sets.p else runs

    @property
    def p(self) -> float | None:
        """Of the claim that one is ahead, by itself, before any correction; None for what cannot be tested."""
        return self.decisive.p

    @property
    def of_sets_only(self) -> bool:
        """Whether a single distillation stands for a method that would draw another."""
        return len(self.by_set) == 1 and None not in self.by_set


def compare(first: Runs, second: Runs, among: Collection[Runs] = ()) -> Comparison | None:
    """How `first` stands to `second`; None when they share no run.

    among: all rows of the table, these two with them, which tell how far sets of one method lie apart; by default the
    two alone, which leaves two degrees of freedom where each has two sets.
    """
    pairs = {
        (mine if mine is not None else theirs, evaluation): first[mine, evaluation] - second[theirs, evaluation]
        for mine, evaluation in first
        for theirs in {seed for seed, other in second if other == evaluation and (seed == mine or None in (seed, mine))}
    }
    over_runs = paired(pairs, dict.fromkeys(pairs, 0.0))
    if over_runs is None:
        return None
    gaps = by_set(pairs)
    over_sets = None
    if len(gaps) > 1:
        evaluations = _common_evaluations(pairs)
        found = [_variance_of_mean(row, evaluations, among or (first, second), len(gaps)) for row in (first, second)]
        over_sets = _over_sets(list(gaps.values()), found)
    return Comparison(over_runs, gaps, over_sets)


def mean_of(row: Runs, among: Collection[Runs] = ()) -> Summary:
    """Mean over all runs of a row, with the interval that speaks of the method where it has two sets or more.

    That is the interval over sets, by the rule at the top of this module, or that over runs where it is wider; for one
    set and for a method that draws nothing the interval over runs. std and n are over runs always.
    among: as for `compare`; by default the row alone.

    Raises:
        ValueError: for a row without runs.
    """
    over_runs = summary(list(row.values()))
    sets = len({seed for seed, _ in row})
    if sets < 2:
        return over_runs
    found = _variance_of_mean(row, _common_evaluations(row), among or (row,), sets)
    if found is None:
        return replace(over_runs, half=None)
    half = t_quantile(found.freedom) * math.sqrt(found.value)
    once_each = over_runs.n == sets
    return replace(over_runs, half=half if once_each else max(half, over_runs.half or 0.0))


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


class Standings(NamedTuple):
    """What the tests of one table say of its rows."""

    ranks: list[Rank]
    p_values: Mapping[frozenset[int], float]  # of two rows by their places, corrected over the table


def standings(rows: Sequence[Runs], alpha: float = ALPHA) -> Standings:
    """Ranks of each row by the rule at the top of this module, and the corrected p value of every pair."""
    pairs = list(combinations(range(len(rows)), 2))
    found = [compare(rows[i], rows[j], rows) for i, j in pairs]
    better, worse = [0] * len(rows), [0] * len(rows)  # than each row
    p_values = {}
    for (i, j), gap, p in zip(pairs, found, adjusted(found), strict=True):
        p_values[frozenset((i, j))] = p
        if gap is not None and p < alpha:
            ahead, behind = (i, j) if gap.mean > 0 else (j, i)
            better[behind] += 1
            worse[ahead] += 1
    ranks = [Rank(1 + above, len(rows) - below) for above, below in zip(better, worse, strict=True)]
    return Standings(ranks, p_values)


def _over_sets(gaps: Sequence[float], found: Sequence[Variance | None]) -> Difference:
    mean, n = math.fsum(gaps) / len(gaps), len(gaps)
    known = [each for each in found if each is not None]
    if len(known) < 2:
        return Difference(mean, None, n, None, None)
    error = math.sqrt(math.fsum(each.value for each in known))
    half, p = student(mean, error, n, min(each.freedom for each in known))
    return Difference(mean, error * math.sqrt(n), n, half, p)


def _variance_of_mean(row: Runs, evaluations: Collection[int], among: Iterable[Runs], sets: int) -> Variance | None:
    """Of a row's mean over so many sets and these evaluation seeds; None where the table does not tell it."""
    split, count = (_set_means, sets) if _draws(row) else (_evaluations, len(evaluations))
    pooled = _variance(group for other in among for group in split(other, evaluations))
    own = _variance(split(row, evaluations))
    if pooled is None:
        return None
    return Variance(max(pooled.value, 0.0 if own is None else own.value) / count, pooled.freedom)


def _set_means(row: Runs, evaluations: Collection[int]) -> list[list[float]]:
    """In one group: the mean over these evaluation seeds of each set that was judged on all of them."""
    if not evaluations or not _draws(row):
        return []
    seeds = {seed for seed, _ in row}
    sets = [[row[seed, each] for each in evaluations if (seed, each) in row] for seed in sorted(seeds, key=str)]
    return [[math.fsum(values) / len(values) for values in sets if len(values) == len(evaluations)]]


def _evaluations(row: Runs, evaluations: Collection[int]) -> list[list[float]]:
    """One group for each set: its accuracies by evaluation seed."""
    seeds = {seed for seed, _ in row}
    return [[row[seed, each] for each in evaluations if (seed, each) in row] for seed in sorted(seeds, key=str)]


def _variance(groups: Iterable[Sequence[float]]) -> Variance | None:
    """Pooled within groups; None where none has two values."""
    found = [(summary(values).std, len(values)) for values in groups if len(values) > 1]
    squares = [std**2 * (n - 1) for std, n in found if std is not None]
    freedom = sum(n - 1 for _, n in found)
    return Variance(math.fsum(squares) / freedom, freedom) if freedom else None


def _common_evaluations(runs: Runs) -> list[int]:
    """Evaluation seeds that every distillation seed has."""
    sets = {seed for seed, _ in runs}
    return [each for each in sorted({each for _, each in runs}) if all((seed, each) in runs for seed in sets)]


def _draws(row: Runs) -> bool:
    return any(seed is not None for seed, _ in row)
