"""The experiments beside the transfer table: what counts as shown."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from condense import files, methods
from condense.evaluate.transfer import protocol
from condense.method import with_overrides


@pytest.fixture
def script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("transfer_factor")


def gap(mean: float, half: float | None, p: float | None, each: tuple[float, float]) -> dict[str, Any]:
    seeds = {"0": each[0], "1": each[1]}
    return {"mean": mean, "half_interval": half, "p": p, "by_distillation_seed": seeds}


@pytest.mark.parametrize(
    ("name", "found", "said"),
    [
        ("learned-targets", gap(2.0, 1.0, 0.01, (1.5, 2.5)), "holds"),
        ("learned-targets", gap(-2.0, 1.0, 0.01, (-1.5, -2.5)), "refuted"),
        ("learned-targets", gap(2.0, 1.0, 1.0, (-0.5, 4.5)), "open"),
        ("learned-targets", gap(2.0, None, None, (2.0, 2.0)), "open"),
        ("authors-pool", gap(-2.0, 1.0, 0.01, (-1.5, -2.5)), "holds"),
        ("fresh-views", gap(0.3, 0.5, 0.4, (0.5, 0.1)), "holds"),
        ("fresh-views", gap(0.3, 0.5, 0.4, (1.5, -0.9)), "open"),
        ("fresh-views", gap(0.0, 1.5, 0.9, (0.1, -0.1)), "open"),
        ("fresh-views", gap(-3.0, 1.5, 0.01, (-2.9, -3.1)), "refuted"),
        ("fresh-views", None, "not tested: the stated cell was not measured"),
    ],
)
def test_a_verdict_follows_from_what_was_expected(
    name: str, found: dict[str, Any] | None, said: str, script: ModuleType
) -> None:
    assert script.verdict(script.EXPERIMENTS[name], found) == said


def test_a_statement_is_written_down_once(script: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "factor.json"
    stated = {"hypothesis": "h", "images": 100, "stated_by": {"command": "first", "commit": "a"}}
    assert script.first_stated(out, stated) == stated
    files.write_json(out, stated | {"verdict": "holds"})
    assert script.first_stated(out, stated | {"stated_by": {"command": "again", "commit": "b"}}) == stated
    assert files.read_json(out)["verdict"] == "holds"  # until there is another one
    with pytest.raises(SystemExit, match="states another hypothesis, images; choose another --out"):
        script.first_stated(out, stated | {"hypothesis": "other", "images": 500})


def test_every_experiment_changes_its_factor_and_states_a_cell_that_its_protocol_has(script: ModuleType) -> None:
    usual = with_overrides("krr_st", methods.get("krr_st").config(), script.SETTINGS)
    for name, experiment in script.EXPERIMENTS.items():
        assert len(experiment.change) == 1, name
        assert with_overrides("krr_st", usual, experiment.change) != usual, name
        assert experiment.use in map(str, protocol.load(experiment.protocol).settings()), name
        # Records name a target as it is shown to the networks: in colour, resized.
        assert experiment.target.partition("+")[0] in script.TARGETS, name
