"""The leaderboard's statistics against closed forms and an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from condense.evaluate import statistics
from condense.evaluate.statistics import compare, holm, paired, ranks, summary

VALUES = [0.412, 0.431, 0.398, 0.405, 0.44]


def test_the_interval_of_two_values_is_the_cauchy_quantile_times_half_their_distance() -> None:
    # With one degree of freedom Student's t is Cauchy's: its 97.5 % quantile is tan(0.475 pi).
    found = summary([0.4, 0.5])
    assert found.std == pytest.approx(0.1 / math.sqrt(2))
    assert found.half == pytest.approx(math.tan(0.475 * math.pi) * 0.05)


def test_the_interval_agrees_with_scipy() -> None:
    found = summary(VALUES)
    low, high = stats.t.interval(0.95, len(VALUES) - 1, loc=np.mean(VALUES), scale=stats.sem(VALUES))
    assert found.mean - found.half == pytest.approx(low)
    assert found.mean + found.half == pytest.approx(high)
    assert found.std == pytest.approx(np.std(VALUES, ddof=1))


def test_one_value_has_a_mean_and_no_spread() -> None:
    assert summary([0.4]) == statistics.Summary(0.4, None, 1, None)


def test_no_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="at least one value, got none"):
        summary([])


def test_the_paired_test_agrees_with_scipy_and_uses_shared_runs_only() -> None:
    other = [0.40, 0.41, 0.40, 0.39, 0.42]
    first = dict(enumerate(VALUES)) | {7: 0.9}
    second = {8: 0.1} | dict(enumerate(other))
    found = paired(first, second)
    assert found is not None
    assert found.n == 5
    assert found.mean == pytest.approx(np.mean(np.subtract(VALUES, other)))
    assert found.p == pytest.approx(stats.ttest_rel(VALUES, other).pvalue)


def test_runs_in_common_decide_whether_there_is_a_difference_and_an_interval() -> None:
    assert paired({1: 0.4}, {2: 0.4}) is None
    single = paired({1: 0.5, 2: 0.1}, {1: 0.4})
    assert single is not None
    assert (single.n, single.half, single.p) == (1, None, None)
    alone = compare({(0, 1): 0.5, (0, 2): 0.1}, {(0, 1): 0.4})
    assert alone is not None
    assert not alone.beats


def test_equal_differences_fall_back_on_the_exact_sign_flip_test() -> None:
    # 0.3 - 0.2 and 0.5 - 0.4 differ by rounding only; n equal signs out of 2^n have p = 2 / 2^n.
    found = paired({1: 0.3, 2: 0.5, 3: 0.7}, {1: 0.2, 2: 0.4, 3: 0.6})
    assert found is not None
    assert found.p == 0.25
    assert found.half is None
    same = paired({1: 0.3, 2: 0.5}, {1: 0.3, 2: 0.5})
    assert same is not None
    assert same.p == 1.0
    six = paired(dict.fromkeys(range(6), 0.3), dict.fromkeys(range(6), 0.2))
    assert six is not None
    assert six.p == 2**-5


def sets(*means: list[float]) -> dict[tuple[int | None, int], float]:
    """Runs of a method by distillation seed and evaluation seed."""
    return {(seed, number): value for seed, found in enumerate(means) for number, value in enumerate(found)}


def fixed(*values: float) -> dict[tuple[int | None, int], float]:
    """Runs of a method that draws nothing."""
    return {(None, number): value for number, value in enumerate(values)}


def test_beating_means_that_the_whole_interval_lies_above_zero() -> None:
    low = sets([0.40, 0.40])
    near = compare(sets([0.50, 0.52]), low)  # 0.11 ± 0.127
    far = compare(sets([0.50, 0.502]), low)  # 0.101 ± 0.0127
    back = compare(low, sets([0.50, 0.502]))
    assert near is not None
    assert far is not None
    assert back is not None
    assert (near.beats, far.beats, back.beats) == (False, True, False)
    assert (near.loses, far.loses, back.loses) == (False, False, True)
    assert far.of_sets_only


def test_two_sets_that_disagree_claim_nothing_whatever_their_runs_say() -> None:
    low = sets([0.3] * 6, [0.3] * 6)
    # Over runs: five parts of +0.2, one of -0.001, so far above zero.
    lopsided = sets([0.5, 0.501, 0.502, 0.503, 0.504, 0.505], [0.299])
    found = compare(lopsided, low)
    assert found is not None
    assert found.over_runs.p is not None
    assert found.over_runs.p < 0.01
    assert not found.agree
    assert not found.beats
    assert found.p == 1.0
    both = compare(sets([0.5, 0.501, 0.502, 0.503, 0.504, 0.505], [0.301]), low)
    assert both is not None
    assert both.beats


def test_three_sets_are_compared_by_their_means() -> None:
    # Mean differences 0.01, 0.05, 0.03: t = 0.03 sqrt(3) / 0.02 = 2.598, two-sided p = 0.1218 with two d.f.
    found = compare(sets([0.30, 0.32], [0.34, 0.36], [0.32, 0.34]), sets(*[[0.30, 0.30]] * 3))
    assert found is not None
    assert found.by_set == pytest.approx({0: 0.01, 1: 0.05, 2: 0.03})
    assert found.over_sets is not None
    assert found.p == pytest.approx(stats.ttest_1samp([0.01, 0.05, 0.03], 0).pvalue)
    # With two d.f. the t distribution has a closed form: P(|T| > t) = 1 - t / sqrt(2 + t^2).
    t = 0.03 * math.sqrt(3) / 0.02
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert not found.beats
    assert found.over_runs.p is not None
    assert found.over_runs.p < 0.05  # six runs taken as independent would have claimed it
    assert found.mean == pytest.approx(0.03)


def test_a_fixed_set_stands_beside_each_set_and_its_evaluation_must_be_certain_too() -> None:
    drawn = sets([0.40, 0.30], [0.41, 0.31], [0.42, 0.32])
    found = compare(drawn, fixed(0.2, 0.3))
    assert found is not None
    assert found.by_set == pytest.approx({0: 0.10, 1: 0.11, 2: 0.12})
    assert found.over_sets is not None
    assert found.over_sets.p is not None
    assert found.over_sets.p < 0.01  # the three sets are alike
    assert found.p == found.over_runs.p  # the two evaluations are not
    mirrored = compare(fixed(0.2, 0.3), drawn)
    assert mirrored is not None
    assert mirrored.by_set == pytest.approx({0: -0.10, 1: -0.11, 2: -0.12})


def test_two_methods_that_draw_nothing_are_compared_over_evaluation_seeds() -> None:
    found = compare(fixed(0.40, 0.41, 0.43), fixed(0.30, 0.30, 0.30))
    assert found is not None
    assert found.by_set == pytest.approx({None: 0.34 / 3})
    assert found.p == pytest.approx(stats.ttest_1samp([0.10, 0.11, 0.13], 0).pvalue)
    assert found.beats
    assert not found.of_sets_only


def test_seeds_that_are_not_shared_take_no_part() -> None:
    assert compare(sets([0.4]), {(1, 0): 0.3}) is None
    found = compare(sets([0.4, 0.5], [0.6]), {(0, 1): 0.3, (1, 1): 0.1})
    assert found is not None
    assert found.by_set == pytest.approx({0: 0.2})


def test_holm_adjusts_as_in_the_textbook() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.2 times 4, 3, 2, 1, then made monotone.
    assert holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(0 <= before <= after <= 1 for before, after in zip(values, adjusted, strict=True))
    assert all(
        adjusted[i] <= adjusted[j] for i in range(len(values)) for j in range(len(values)) if values[i] < values[j]
    )


def row(mean: float, spread: float, runs: int = 6) -> dict[tuple[int | None, int], float]:
    return {(0, run): mean + spread * math.sin(7.0 * run + 90 * mean) for run in range(runs)}


def test_rows_that_the_corrected_test_separates_have_ranks_of_their_own() -> None:
    assert ranks([row(0.3, 0.001), row(0.5, 0.001), row(0.4, 0.001)]) == [(3, 3), (1, 1), (2, 2)]


def test_rows_that_it_does_not_separate_leave_each_other_both_places() -> None:
    assert ranks([row(0.50, 0.02), row(0.501, 0.02), row(0.3, 0.001)]) == [(1, 2), (1, 2), (3, 3)]


def test_ranks_follow_the_sets_and_not_the_runs() -> None:
    low = sets(*[[0.300, 0.301, 0.302]] * 2)
    assert ranks([low, sets([0.400, 0.402, 0.401], [0.350, 0.352, 0.351])]) == [(2, 2), (1, 1)]
    assert ranks([low, sets([0.400, 0.402, 0.401], [0.2995, 0.301, 0.301])]) == [(1, 2), (1, 2)]
    assert ranks([sets(*[[0.30] * 4] * 3), sets([0.31] * 4, [0.35] * 4, [0.33] * 4)]) == [(1, 2), (1, 2)]
    assert ranks([sets(*[[0.30] * 4] * 3), sets([0.41] * 4, [0.42] * 4, [0.43] * 4)]) == [(2, 2), (1, 1)]


def test_without_pairs_nothing_is_separated() -> None:
    assert ranks([sets([0.9]), sets([0.1]), {}]) == [(1, 3)] * 3
    assert ranks([sets([0.9, 0.91]), {(0, 3): 0.1, (0, 4): 0.11}]) == [(1, 2)] * 2
    assert ranks([]) == []


def test_a_difference_that_alone_is_significant_may_not_survive_the_correction() -> None:
    first = row(0.40, 0.01)
    second = {run: value - 0.006 - 0.004 * (run[1] % 2) for run, value in first.items()}
    gap = paired(first, second)
    assert gap is not None
    assert gap.p is not None
    assert gap.p < 0.05
    crowd = [sets([0.4 + 0.2 * math.sin(5.0 * run + i) for run in range(6)]) for i in range(24)]
    assert ranks([first, second]) == [(1, 1), (2, 2)]
    assert ranks([first, second, *crowd])[:2] == [(1, 26)] * 2


@pytest.mark.parametrize(("ior", "hlr", "expected"), [(20, 35, 0.2382), (5, 10, 0.2584), (30, 10, 0.3137)])
def test_lrs_takes_fractions_and_gives_the_values_that_the_formula_gives(ior: int, hlr: int, expected: float) -> None:
    assert statistics.label_robust_score(ior / 100, hlr / 100) == pytest.approx(expected, abs=5e-5)


def test_the_ends_of_the_scores_are_where_the_formula_puts_them() -> None:
    assert statistics.label_robust_score(0.0, 0.0) == pytest.approx(0.2689, abs=5e-5)
    assert statistics.label_robust_score(1.0, 0.0, weight=1.0) == pytest.approx(1.0)
    assert statistics.label_robust_score(0.0, 1.0, weight=0.0) == pytest.approx(0.0)
    assert statistics.augmentation_robust_score(1.0, 1.0) == pytest.approx(1.0)
    assert statistics.augmentation_robust_score(0.2, -0.2) == pytest.approx(0.2689, abs=5e-5)


def test_percentages_are_refused() -> None:
    with pytest.raises(ValueError, match="divide points by 100"):
        statistics.label_robust_score(20, 0.3)
    with pytest.raises(ValueError, match="weight must lie in"):
        statistics.augmentation_robust_score(0.1, 0.1, weight=2)


def test_ior_and_hlr_have_the_signs_of_their_definitions() -> None:
    assert statistics.improvement_over_random(0.5, 0.3) == pytest.approx(0.2)
    assert statistics.hard_label_recovery(0.8, 0.5) == pytest.approx(0.3)


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_under_one_hard_protocol_lrs_orders_sets_as_accuracy_does_for_every_weight(weight: float) -> None:
    scores = [
        statistics.label_robust_score(
            statistics.improvement_over_random(mine, 0.3), statistics.hard_label_recovery(0.85, mine), weight
        )
        for mine in (0.25, 0.4, 0.41, 0.6)
    ]
    assert scores == sorted(scores)
