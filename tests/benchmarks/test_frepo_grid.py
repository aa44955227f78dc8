"""The grid of FRePo on CIFAR-10: nothing runs unpiloted, and it differs from the published setting in size alone."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from types import ModuleType

import pytest

from condense import methods


@pytest.fixture
def grid(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("frepo_grid")


def test_nothing_runs_before_the_rates_are_piloted(
    grid: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(grid, "PILOT", tmp_path / "pilot.json")
    assert len(grid.unpiloted()) == 2
    monkeypatch.undo()
    assert grid.unpiloted() == []
    monkeypatch.setattr(grid, "RATES", {1: 0.003, 10: 0.01})
    assert grid.unpiloted() == ["ipc=10: lr=0.003 is better than 0.01"]


def test_only_its_size_and_rate_differ_from_the_published_preset(grid: ModuleType) -> None:
    published = methods.get("frepo").config(grid.PRESET)
    for row in grid.settings():
        if row.method == "frepo":
            changed = dataclasses.replace(published, **row.fields)
            differing = {
                each.name
                for each in dataclasses.fields(published)
                if getattr(changed, each.name) != getattr(published, each.name)
            }
            assert differing == {"network", "real_batch", "steps", "lr"}


def test_every_set_is_judged_by_both_tracks_on_both_students(grid: ModuleType) -> None:
    made = [
        words
        for row in grid.settings()
        for seed in range(grid.SEEDS)
        for words in grid.commands(row, seed, Path("r"), 1)
    ]
    assert sum(words[0] == "distill" for words in made) == 2 * 2 * grid.SEEDS
    judged = [words for words in made if words[0] == "evaluate"]
    assert {words[words.index("--protocol") + 1] for words in judged} == set(grid.PROTOCOLS)
    assert all(set(grid.STUDENTS) <= set(words) for words in judged)


def test_the_table_of_no_records_has_its_heads_alone(
    grid: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grid.table(tmp_path) == 0
    assert [
        line for line in capsys.readouterr().out.splitlines() if line and not line.startswith(("| IPC", "|---"))
    ] == []
