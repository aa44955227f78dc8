"""The transfer table's script: what a table needs before it starts, and what its records say of how they were made."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from condense import api, methods
from condense.errors import Diverged
from condense.method import with_overrides
from condense.self_supervised import Gate

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


def test_a_table_needs_a_teacher_that_passed(script: ModuleType) -> None:
    script.require_passed(Gate(teacher=0.6, random=0.4))
    with pytest.raises(SystemExit, match=r"reaches 0\.450, random weights 0\.400: less than 0\.1 apart"):
        script.require_passed(Gate(teacher=0.45, random=0.4))


def test_a_table_goes_on_without_a_set_that_diverged(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says so at the end, with the exit code of a failure."""
    judged: list[list[Path]] = []

    def distil(method: str, _given: object, _settings: object, seed: int, _place: object) -> Path:
        if (method, seed) == ("frepo", 1):
            raise Diverged("the loss left the finite numbers")
        return Path(f"{method}-{seed}")

    def transfer(sets: list[Path], *_words: object, **_options: object) -> api.TransferReport:
        judged.append(sets)
        return api.TransferReport()

    monkeypatch.setattr(script, "distilled", distil)
    monkeypatch.setattr(script, "prepared", lambda *_: None)
    monkeypatch.setattr(script, "gated", lambda *_: api.Gated(Gate(0.6, 0.4), None))
    monkeypatch.setattr(api, "transfer", transfer)
    monkeypatch.setattr(sys, "argv", ["transfer.py", "table", "--methods", "krr_st", "frepo", "--no-references"])
    assert script.main() == 1
    assert judged == 2 * [[Path("krr_st-0"), Path("krr_st-1"), Path("frepo-0")]]
    assert "failed: frepo, seed 1: " in capsys.readouterr().out


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
