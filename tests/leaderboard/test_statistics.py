"""The leaderboard's statistics against closed forms and an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from condense.evaluate import statistics
from condense.evaluate.statistics import holm, paired, summary

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
