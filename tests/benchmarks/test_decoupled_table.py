"""The tables of the decoupled grid: which statistic a claim rests on, and which bytes are answers."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

from condense.distilled.labels import HardLabels, RegionLabels, Regions, SoftLabels
from condense.evaluate.statistics import compare


@pytest.fixture
def tables(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("decoupled_table")


def test_a_claim_of_three_sets_is_that_over_sets(tables: ModuleType) -> None:
    first = {(seed, each): 0.50 + 0.010 * seed + 0.001 * each for seed in range(3) for each in range(3)}
    second = {(seed, each): 0.40 + 0.002 * each for seed in range(3) for each in range(3)}
    gap = compare(first, second)
    assert gap is not None
    assert gap.over_sets is not None
    cells = tables.claim_line("a", "b", {"a": first, "b": second}).split(" | ")
    assert cells[1:4] == ["b", tables.interval(gap.over_sets, "+"), f"{gap.over_sets.p:.2g}"]
    assert cells[5] == "ahead outside the 95 % interval over 3 distillation seeds |"
    assert "behind outside" in tables.claim_line("b", "a", {"a": first, "b": second})
    two = {run: value for run, value in first.items() if run[0] < 2}
    assert "ahead with both sets" in tables.claim_line("a", "b", {"a": two, "b": second})
    assert tables.claim_line("a", "b", {"a": first, "b": {}}) is None


def test_a_row_that_is_not_ahead_is_not_called_so(tables: ModuleType) -> None:
    first = {(seed, each): 0.5 + (-0.01) ** seed for seed in range(3) for each in range(3)}
    second = {(seed, each): 0.5 + 0.3 * seed for seed in range(3) for each in range(3)}
    assert "not separated (distillation seeds)" in tables.claim_line("a", "b", {"a": first, "b": second})


def test_answers_are_counted_without_the_classes_beside_them(tables: ModuleType) -> None:
    rows = torch.zeros(6, 3, dtype=torch.float16)
    classes = torch.arange(6) % 3
    stored = RegionLabels(Regions(6, (3, 8, 8), 2, seed=0), [{"target": rows}] * 5, 3, classes=classes)  # type: ignore[arg-type]
    fixed = SoftLabels(rows, "logits", classes=classes)
    assert (tables.answer_bytes(fixed), tables.answer_bytes(stored)) == (6 * 3 * 2, 5 * 6 * 3 * 2)
    assert tables.answer_bytes(HardLabels(classes, 3)) is None
