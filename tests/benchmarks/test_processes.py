"""How a script ends: what whoever started it can mend is one line and an exit code, never a traceback."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from condense.errors import BadInput, Diverged


@pytest.fixture
def processes(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    monkeypatch.setattr(sys, "argv", ["/somewhere/measured.py", "--repeats", "3"])
    return importlib.import_module("processes")


def raising(error: Exception) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "code", "said"),
    [
        (lambda: None, None, ""),
        (lambda: 1, 1, ""),
        (raising(BadInput("no such data")), 2, "measured.py: error: no such data\n"),
        (raising(Diverged("not finite")), 1, "measured.py: error: not finite\n"),
        (
            raising(subprocess.CalledProcessError(3, ["python", "a b"])),
            3,
            "measured.py: its part `python 'a b'` failed\n",
        ),
    ],
    ids=["done", "something-failed", "bad-input", "diverged", "a-part-failed"],
)
def test_the_exit_code_says_how_it_ended(
    main: Callable[[], int | None],
    code: int | None,
    said: str,
    processes: ModuleType,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        processes.run_as_script(main)
    assert end.value.code == code
    assert capsys.readouterr().err == said


def test_a_mistake_of_the_script_itself_keeps_its_traceback(processes: ModuleType) -> None:
    with pytest.raises(ZeroDivisionError):
        processes.run_as_script(raising(ZeroDivisionError()))
