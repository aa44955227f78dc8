"""The published table of trajectory matching is what its records say, and its rows are settings that still exist."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def grid(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("trajectory_grid")


def test_the_table_is_drawn_from_its_records(
    grid: ModuleType, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = repository / "results" / "trajectories"
    assert grid.table(list(grid.settings()), 2, str(folder)) == 0
    assert capsys.readouterr().out == (folder / "table.md").read_text()


def test_no_pair_of_methods_is_left_out_of_the_correction(grid: ModuleType) -> None:
    rows = [row for row in grid.settings() if row.ipc == 1]
    found = list(grid.pairs(rows))
    assert len(found) == 7 * 6 // 2
    assert len({frozenset((first.name, second.name)) for first, second in found}) == len(found)


def test_an_ingredient_differs_from_its_method_in_itself_alone(grid: ModuleType) -> None:
    rows = {(row.name, row.ipc): row for row in grid.settings()}
    for row in rows.values():
        if row.name != row.method:
            whole = rows[row.method, row.ipc].fields
            changed = {name for name in row.fields if row.fields[name] != whole.get(name, "as it comes")}
            ingredient = row.name.split("-without-")[-1]
            beside = set(grid.WITH_OFF.get((row.method, ingredient), {}))
            assert changed - beside == {ingredient} or row.name in grid.OTHERWISE, row.name
