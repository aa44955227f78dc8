"""Bad input gives one line that says what was wrong and what to do, exit code 2, and nothing else."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from condense import cli
from condense.cli import main
from condense.errors import DamagedFile, Diverged

DISTILL = ["distill", "random", "--dataset", "digits"]


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a refused command prints, without its beginning."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("condense: error: ")
    assert err.count("\n") == 1
    return err.removeprefix("condense: error: ").rstrip("\n")


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def handler(arguments: object) -> NoReturn:
        raise error

    monkeypatch.setattr("condense.cli.listing.listing", handler)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give a command: list, distill, evaluate"),
        (["distil"], "unknown command 'distil'; did you mean distill"),
        (["list", "method"], "unknown kind of thing to list 'method'; did you mean methods?"),
        (["list", "methods", "--jsn"], "unknown option of list '--jsn'; did you mean --json?"),
        (["list", "methods", "more"], "unexpected argument 'more'; see `condense list --help`"),
        (DISTILL, "one of the arguments --ipc --total --fraction is required; see `condense distill --help`"),
        ([*DISTILL, "--ipc", "1", "--total", "9"], "argument --total: not allowed with argument --ipc"),
        ([*DISTILL, "--ipc", "ten"], "argument --ipc: invalid int value: 'ten'"),
        ([*DISTILL, "--ipc", "0"], "ipc must be a whole number of at least 1, got 0"),
        ([*DISTILL, "--ipc", "-3"], "ipc must be a whole number of at least 1, got -3"),
        ([*DISTILL, "--total", "0"], "total must be a whole number of at least 1, got 0"),
        ([*DISTILL, "--fraction", "1.5"], "fraction must lie in (0, 1], got 1.5"),
        ([*DISTILL, "--ipc", "1", "--set", "steps"], "--set takes FIELD=VALUE, got 'steps'"),
        ([*DISTILL, "--ipc", "1", "--set", "a=1", "--set", "a=2"], "--set a was given twice, as '1' and '2'"),
        ([*DISTILL, "--ipc", "1", "--time-budget", "soon"], "expected a number of seconds above 0, got 'soon'"),
        ([*DISTILL, "--ipc", "1", "--threads", "0"], "expected a whole number of at least 1, got '0'"),
        (["distill", "randon", "--help"], "unknown method 'randon'; did you mean random?"),
        (["leaderboard", "--results", "/no/such"], "/no/such does not exist; give the folder that holds records/"),
    ],
)
def test_a_request_that_makes_no_sense_is_told_so(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert said in refused(capsys, *words)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "no space left on device; free some space, then run the same command again: it resumes"),
        (errno.EACCES, "permission denied; choose a place that you may use, or change its permissions"),
        (errno.ENOTDIR, "not a directory; a file stands where a folder is needed; remove it or choose another place"),
        (errno.EISDIR, "is a directory; a folder stands where a file is needed; remove it or choose another place"),
        (errno.ENOENT, "no such file or directory; check the path"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_place_and_a_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    fail_with(monkeypatch, OSError(code, os.strerror(code), "/some/place"))
    assert refused(capsys, "list", "methods") == f"/some/place: {said}"


def test_an_error_of_several_lines_is_told_on_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, DamagedFile("a.safetensors", "header\n  too short"))
    assert refused(capsys, "list", "methods").startswith("a.safetensors: damaged file (header too short); restore it")


def test_divergence_is_a_failure_of_the_work_not_of_the_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, Diverged("loss is nan at step 7"))
    assert main(["list", "methods"]) == 1
    assert capsys.readouterr().err == "condense: error: loss is nan at step 7\n"


def test_an_interrupt_says_that_the_command_resumes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, KeyboardInterrupt())
    assert main(["list", "methods"]) == 130
    assert capsys.readouterr().err == "condense: interrupted; the same command resumes where this one stopped\n"


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["list", "methods"])


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, DamagedFile("a", "b"))
    with pytest.raises(DamagedFile):
        main(["list", "methods", "--traceback"])


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "condense.cli", "list", "networks"]
    with os.fdopen(writing, "w") as nobody:
        run = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (141, "")


def test_every_command_has_its_handler() -> None:
    assert set(cli._HANDLERS) == set(cli.parser.COMMANDS)


def test_a_file_for_a_results_folder_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_text("")
    assert "is a file; give the folder that holds records/" in refused(capsys, "leaderboard", "--results", str(file))
