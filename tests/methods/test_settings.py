"""Which values settings take, and what is said of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from condense.errors import BadInput
from condense.method import Count, Group, Part, Positive, with_overrides


@dataclass(frozen=True)
class Config:
    steps: int = 5
    batch: Count = 4
    chunk: Count | None = None
    offset: int = -1
    rate: float = 0.5
    shift: float = -0.5
    network: str = "convnet"
    augment: bool = True
    group: Group | None = None
    temperature: Positive = 20.0
    share: Part = 0.9


@pytest.mark.parametrize(
    ("field", "value", "lowest"),
    [
        ("steps", "-1", "0"),
        ("batch", "0", "1"),
        ("chunk", "0", "1"),
        ("rate", "-0.1", "0"),
        ("rate", "nan", "0"),
        ("rate", float("inf"), "0"),
        ("shift", "nan", "-inf"),
        ("group", "1", "2"),
    ],
)
def test_impossible_numbers_are_refused(field: str, value: Any, lowest: str) -> None:
    with pytest.raises(BadInput) as caught:
        with_overrides("mine", Config(), {field: value})
    assert str(caught.value) == f"mine: {field} must be a finite number of at least {lowest}, got {value!r}"


def test_a_temperature_is_above_0() -> None:
    with pytest.raises(BadInput, match=r"mine: temperature must be a finite number above 0, got '0'"):
        with_overrides("mine", Config(), {"temperature": "0"})
    assert with_overrides("mine", Config(), {"temperature": "0.01"}).temperature == 0.01


@pytest.mark.parametrize("value", ["0", "1.01", "3"])
def test_a_part_of_a_whole_is_no_more_than_that(value: str) -> None:
    told = rf"mine: share must be a finite number above 0 and at most 1, got '{value}'"
    with pytest.raises(BadInput, match=told):
        with_overrides("mine", Config(), {"share": value})
    assert with_overrides("mine", Config(), {"share": "1"}).share == 1.0


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("steps", "0", 0),
        ("batch", "1", 1),
        ("chunk", "none", None),
        ("chunk", "3", 3),
        ("offset", "-7", -7),
        ("shift", "-2.5", -2.5),
        ("network", "-1", "-1"),
        ("augment", "false", False),
    ],
)
def test_possible_values_are_read_as_their_type(field: str, value: str, read: Any) -> None:
    assert getattr(with_overrides("mine", Config(), {field: value}), field) == read


def test_a_type_is_named_without_its_marks() -> None:
    with pytest.raises(BadInput, match="mine: batch must be int, got 'many'"):
        with_overrides("mine", Config(), {"batch": "many"})
