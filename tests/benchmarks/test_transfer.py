"""The transfer table's script: what a table needs before it starts, and what its records say of how they were made."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from condense import files, methods
from condense.method import with_overrides

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("transfer_script", SCRIPTS / "transfer.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def passed(script: ModuleType) -> dict[str, Any]:
    teacher = {name: value for name, value in script.SETTINGS.items() if name.startswith("teacher")}
    return {"source": "digits", "settings": teacher, "teacher": 0.6, "random": 0.4, "margin": 0.1, "passed": True}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (None, "missing"),
        ({"source": "cifar10[0-4]"}, "another teacher"),
        ({"settings": {"teacher_epochs": "1"}}, "another teacher"),
        ({"passed": False, "teacher": 0.45}, "reaches 0.450, random weights 0.400"),
    ],
    ids=["missing", "source", "teacher", "failed"],
)
def test_a_table_needs_a_gate_that_this_teacher_passed(
    change: dict[str, Any] | None, told: str, script: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "gate.json"
    if change is not None:
        files.write_json(path, passed(script))
        script.require_passed(path, "digits", script.SETTINGS)  # as it is, nothing is refused
        files.write_json(path, passed(script) | change)
    with pytest.raises(SystemExit, match=told):
        script.require_passed(path, "digits", script.SETTINGS)


def test_a_setting_is_of_krr_st_unless_it_names_a_method(script: ModuleType) -> None:
    found = script.settings_of_methods(["steps=7", "frepo.steps=8"])
    assert [found[name]["steps"] for name in script.METHODS] == ["7", "8", script.LABELLED["kip"]["steps"]]
    assert script.SETTINGS["steps"] != "7"
    for name, settings in found.items():
        config = with_overrides(name, methods.get(name).config(), settings)
        assert config.preprocessing == "normalise"  # one pixel space, so that one baseline stands beside all


def test_the_command_of_a_record_is_the_one_that_was_given(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["/elsewhere/benchmarks/transfer.py", "table", "--set", "steps=7", "--source", "a b"]
    )
    assert script.command_line() == "python benchmarks/transfer.py table --set steps=7 --source 'a b'"
