"""Bytes and seconds as people read them."""

from __future__ import annotations

import pytest

from condense.quantities import duration, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (1e-9, "0 s"),
        (0.000244, "0.24 ms"),
        (0.00508, "5.1 ms"),
        (0.0994, "99 ms"),
        (0.0995, "0.0995 s"),
        (0.158, "0.158 s"),
        (89.9, "89.9 s"),
        (90, "1.5 min"),
        (5400, "1.5 h"),
    ],
)
def test_durations_have_the_unit_that_reads_best(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (26_400, "26.4 kB"), (2.5e15, "2500 TB")]
)
def test_sizes_have_three_digits_and_decimal_units(count: float, text: str) -> None:
    assert size(count) == text
