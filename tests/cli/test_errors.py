"""Bad input gives one line that says what was wrong and what to do, exit code 2, and nothing else."""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from condense import files
from condense.cli import main
from condense.cli.commands import COMMANDS
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
        ([], "give a command: list, distill, gate, evaluate"),
        (["distil"], "unknown command 'distil'; did you mean distill"),
        (["--josn"], "unknown option '--josn'"),
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
        ([*DISTILL, "--ipc", "1", "--threads", "9999999"], "expected at most 1024 threads, got '9999999'"),
        ([*DISTILL, "--ipc", "1", "--device", "cud"], "unknown device 'cud'; did you mean cuda or cpu?"),
        ([*DISTILL, "--ipc", "1", "--device", "meta"], "unknown device 'meta'; known: cpu, cuda"),
        ([*DISTILL, "--total", "3"], "a total of 3 leaves some of the 10 classes without an image; raise it"),
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
        (errno.ENAMETOOLONG, "file name too long; choose a shorter name"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_place_and_a_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    fail_with(monkeypatch, OSError(code, os.strerror(code), "/some/place"))
    assert refused(capsys, "list", "methods") == f"/some/place: {said}"


def test_of_a_temporary_the_user_is_told_the_name_that_it_was_to_get(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def writing(arguments: object) -> NoReturn:
        files.write_text(tmp_path / "folder", "text")
        raise AssertionError("a folder was written over")

    (tmp_path / "folder").mkdir()
    monkeypatch.setattr("condense.cli.listing.listing", writing)
    assert refused(capsys, "list", "methods").startswith(f"{tmp_path}/folder: is a directory; a folder stands where")
    no_place = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{tmp_path}/.tmp-0a1b2c-77-01234567-set.json")
    fail_with(monkeypatch, no_place)
    assert refused(capsys, "list", "methods").startswith(f"{tmp_path}/set.json: no space left on device; free some")


class OutOfMemoryError(RuntimeError):
    """Named as PyTorch's, which is raised on a GPU only."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 90 PiB"),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 90 PiB\nframe #0: ..."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 90 PiB"),
    ],
)
def test_a_lack_of_memory_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_with(monkeypatch, error)
    said = refused(capsys, "list", "methods")
    assert said.startswith("out of memory (")
    assert said.endswith("90 PiB); ask for less, or use a machine with more")


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


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("shapes do not fit")])
def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    fail_with(monkeypatch, error)
    with pytest.raises(type(error)):
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


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_its_handler(command: str) -> None:
    module, _, function = COMMANDS[command].handler.partition(":")
    assert callable(getattr(importlib.import_module(f"condense.cli.{module}"), function))


def test_a_file_for_a_results_folder_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_text("")
    assert "is a file; give the folder that holds records/" in refused(capsys, "leaderboard", "--results", str(file))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("steps=-1", "dm: steps must be a finite number of at least 0, got '-1'"),
        ("lr_images=nan", "dm: lr_images must be a finite number of at least 0, got 'nan'"),
        ("lr_images=inf", "dm: lr_images must be a finite number of at least 0, got 'inf'"),
        ("momentum=-0.5", "dm: momentum must be a finite number of at least 0, got '-0.5'"),
        ("real_batch=0", "dm: real_batch must be a finite number of at least 1, got '0'"),
        ("steps=1.5", "dm: steps must be int, got '1.5'"),
        ("stps=1", "unknown field of dm 'stps'; did you mean steps?"),
        ("initial=foo", "dm: initial must be 'real' or 'noise', got 'foo'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, "distill", "dm", "--dataset", "digits", "--ipc", "1", "--set", setting)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["distill", "dm", "--dataset", "digits", "--ipc", "1", "--quiet", "--set", "mirror=true"],
        ["distill", "dm", "--dataset", "digits", "--ipc", "1", "--quiet", "--set", "preprocessing=zac"],
    ],
)
def test_what_a_method_refuses_leaves_no_work_behind(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capsys, *words)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_a_place_that_cannot_be_written_to_is_told_before_the_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # whatever a test may do as the superuser
    said = refused(capsys, *DISTILL, "--ipc", "1", "--out", "here/set")
    assert "cannot be written to; choose another --out, or change its permissions" in said
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_text_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused(capsys, *DISTILL, "--ipc", "1", "--out", os.fsdecode(b"\xff"))
    assert said == "'\\udcff' is not valid UTF-8; choose another --out"
    assert list(tmp_path.iterdir()) == []
