"""The tables of the decoupled grid: which statistic a claim rests on, and which bytes are answers."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

from condense.distilled.labels import HardLabels, RegionLabels, Regions, SoftLabels
from condense.evaluate.comparisons import compare


@pytest.fixture
def tables(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("decoupled_table")


def line(tables: ModuleType, name: str, other: str, found: dict[str, dict[tuple[int, int], float]]) -> str:
    (only,) = tables.claim_lines([(name, other)], found)
    return only


def test_a_claim_is_corrected_for_all_that_stand_beside_it(tables: ModuleType) -> None:
    first = {(seed, each): 0.5 + 0.01 * seed for seed in range(3) for each in range(2)}
    second = {run: value - 0.021 - 0.001 * run[1] for run, value in first.items()}
    found = {"a": first, "b": second} | {f"c{i}": second for i in range(4)}
    gap = compare(first, second, list(found.values()))
    assert gap is not None
    assert gap.p is not None
    assert 0.01 < gap.p < 0.05
    alone, *crowd = (tables.claim_lines([("a", name) for name in names], found) for names in (["b"], list(found)[1:]))
    assert "ahead by" in alone[0]
    assert all("not separated" in each for each in crowd[0])
    assert f"| {5 * gap.p:.2g} |" in crowd[0][0]


def test_a_claim_of_three_sets_is_that_over_sets(tables: ModuleType) -> None:
    first = {(seed, each): 0.50 + 0.010 * seed + 0.001 * each for seed in range(3) for each in range(3)}
    second = {(seed, each): 0.40 + 0.002 * each for seed in range(3) for each in range(3)}
    gap = compare(first, second)
    assert gap is not None
    assert gap.over_sets is not None
    cells = line(tables, "a", "b", {"a": first, "b": second}).split(" | ")
    assert cells[1:4] == ["b", tables.interval(gap.over_sets, "+"), f"{gap.over_sets.p:.2g}"]
    assert cells[5] == "ahead by the tests over 3 distillation seeds and over runs |"
    assert "behind by" in line(tables, "b", "a", {"a": first, "b": second})
    two = {run: value for run, value in first.items() if run[0] < 2}
    assert "ahead by the tests over 2" in line(tables, "a", "b", {"a": two, "b": second})
    assert tables.claim_lines([("a", "b")], {"a": first, "b": {}}) == []


def test_a_comparison_that_is_missing_is_named(tables: ModuleType, repository: Path) -> None:
    rows = {row.name: row for row in importlib.import_module("decoupled_grid").rows()}
    names = ("cvdd", "sre2l-plus-plus", "random-labels-cvdd", "rded-labels-cvdd", "sre2l-plus-plus-labels-cvdd")
    found: dict[str, dict[tuple[int, int], float]] = {name: {(0, 0): 0.5} if name in names else {} for name in rows}
    assert tables.missing([rows["cvdd"]], rows, "cvdd-cifar10", found) == []
    found["rded-labels-cvdd"] = {}
    assert tables.missing([rows["cvdd"]], rows, "cvdd-cifar10", found) == ["cvdd against rded-labels-cvdd"]
    # By the common protocols the same set stands beside sets, not beside labels.
    assert tables.missing([rows["cvdd"]], rows, "soft-narrow", found) == ["cvdd against random", "cvdd against rded"]


def test_a_row_that_is_not_ahead_is_not_called_so(tables: ModuleType) -> None:
    first = {(seed, each): 0.5 + (-0.01) ** seed for seed in range(3) for each in range(3)}
    second = {(seed, each): 0.5 + 0.3 * seed for seed in range(3) for each in range(3)}
    assert "not separated (distillation seeds)" in line(tables, "a", "b", {"a": first, "b": second})


def test_answers_are_counted_without_the_classes_beside_them(tables: ModuleType) -> None:
    rows = torch.zeros(6, 3, dtype=torch.float16)
    classes = torch.arange(6) % 3
    stored = RegionLabels(Regions(6, (3, 8, 8), 2, seed=0), [{"target": rows}] * 5, 3, classes=classes)  # type: ignore[arg-type]
    fixed = SoftLabels(rows, "logits", classes=classes)
    assert (tables.answer_bytes(fixed), tables.answer_bytes(stored)) == (6 * 3 * 2, 5 * 6 * 3 * 2)
    assert tables.answer_bytes(HardLabels(classes, 3)) is None
