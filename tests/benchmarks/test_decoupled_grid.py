"""The grid of decoupled methods: what its comparisons isolate, and that nobody in it has a home advantage."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from condense import methods, networks
from condense.evaluate import protocols
from condense.method import with_overrides
from condense.soft_labels import LabelRecipe


@pytest.fixture
def grid(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("decoupled_grid")


def settings(row: Any) -> dict[str, Any]:
    """The configuration of a row, as its command line states it."""
    words = {name: "none" if value is None else str(value) for name, value in row.fields.items()}
    return dataclasses.asdict(with_overrides(row.method, methods.get(row.method).config(row.preset), words))


def test_cda_differs_from_its_baseline_in_the_schedule_alone(grid: ModuleType) -> None:
    rows = {row.name: row for row in grid.rows()}
    base, cda = settings(rows["sre2l-with-crops"]), settings(rows["cda"])
    differing = {name for name in base.keys() | cda.keys() if base.get(name) != cda.get(name)}
    assert differing - {"label_epochs"} == {"curriculum", "milestone"}
    assert base["label_epochs"] == cda["label_epochs"]
    assert rows["cda"].against[0] == "sre2l-with-crops"


def test_committee_and_baseline_share_everything_but_the_committee(grid: ModuleType) -> None:
    rows = {row.name: row for row in grid.rows()}
    base, cvdd = settings(rows["sre2l-plus-plus"]), settings(rows["cvdd"])
    assert {name for name in base.keys() & cvdd.keys() if base[name] != cvdd[name]} == set()
    assert rows["cvdd"].seeds == rows["sre2l-plus-plus"].seeds
    # Medium images are those of the first teacher.
    assert cvdd["initial"] == "medium"
    assert cvdd["committee"].split("+")[0] == base["teacher"]


def test_an_ablation_of_the_committee_votes_as_the_whole_method_does(
    grid: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Votes that an ingredient would measure anew are stated; the others read what the method has in the cache."""
    stated = {row.name for row in grid.rows() if row.priors}
    assert stated == {"cvdd-without-initial", "cvdd-without-statistics_weight"}
    asked: list[list[str]] = []
    monkeypatch.setattr(grid, "ROOT", tmp_path)
    monkeypatch.setattr(grid, "call", lambda words, dry_run: asked.append(words) is None)
    monkeypatch.setattr(grid, "measured_priors", lambda source: f"61.5+{len(source.name)}.0")
    row = next(row for row in grid.rows() if row.name == "cvdd-without-initial")
    assert not grid.finish(row, 1, tmp_path, 1, dry_run=False)
    assert asked == []
    (tmp_path / "sets" / "cvdd-s1").mkdir(parents=True)
    assert grid.finish(row, 1, tmp_path, 1, dry_run=False)
    assert "priors=61.5+7.0" in asked[0]


def test_nothing_runs_before_the_weights_are_piloted(
    grid: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = tmp_path / "pilot.json"
    monkeypatch.setattr(grid, "PILOT", missing)
    assert grid.unpiloted()[0] == "ipc=10 initial=medium: statistics_weight 0.01, 0.1, 1 not tried"
    monkeypatch.undo()
    assert grid.unpiloted() == []
    monkeypatch.setattr(grid, "WEIGHTS", {"noise": 1.0})
    assert grid.unpiloted() == ["ipc=10 initial=noise: statistics_weight=0.1 is better than 1"]
    monkeypatch.setattr(grid, "TRIED", (0.1, 10.0))
    assert grid.unpiloted() == ["ipc=10 initial=noise: statistics_weight 10 not tried"]


def test_no_student_and_no_teacher_of_a_protocol_makes_images(grid: ModuleType) -> None:
    makers = {networks.canonical(name) for name in (grid.TEACHER, *grid.COMMITTEE.split("+"))}
    assert networks.canonical(grid.TEACHER) in map(networks.canonical, grid.COMMITTEE.split("+"))
    judges = {networks.canonical(grid.PRIOR_STUDENT), *map(networks.canonical, grid.STUDENTS)}
    for name in grid.PROTOCOLS:
        protocol = protocols.load(name)
        assert tuple(protocol.networks((3, 32, 32))) == grid.STUDENTS
        if protocol.teacher is not None:
            judges.add(networks.canonical(protocol.teacher.network))
    assert makers & judges == set()


def test_rows_that_take_labels_follow_those_that_they_take_from(grid: ModuleType) -> None:
    seen: dict[str, Any] = {}
    for row in grid.rows():
        if row.images is not None:
            assert min(seen[row.images].seeds, seen[row.labels].seeds) >= row.seeds
        seen[row.name] = row
    assert {other for row in seen.values() for other in row.against} <= seen.keys()
    assert {"random-labels-cvdd", "rded-labels-cvdd", "random-labels-infer", "rded-labels-infer"} <= seen.keys()


def test_changed_labels_differ_from_those_of_the_method_in_one_field(grid: ModuleType) -> None:
    row = next(row for row in grid.rows() if row.name == "cvdd")
    config = with_overrides("cvdd", methods.get("cvdd").config(row.preset), {k: str(v) for k, v in row.fields.items()})
    whole = LabelRecipe.of(config, config.committee, config.teacher_recipe, config.teacher_epochs, (0.2, 0.3, 0.5))
    for changed in grid.CHANGED.values():
        spec = {name: value for name, value in {**whole.spec(), **changed}.items() if value is not None}
        other = LabelRecipe.from_spec(spec)
        fields = [entry.name for entry in dataclasses.fields(whole)]
        assert [name for name in fields if getattr(whole, name) != getattr(other, name)] == list(changed)
    protocol = protocols.load(grid.CVDD).recipe
    assert (protocol["batch"], protocol["loss"]["temperature"]) == (whole.batch, whole.temperature)
