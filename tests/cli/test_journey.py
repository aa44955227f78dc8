"""The commands one after another on real digits, as a person would use them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from condense import files
from condense.cli import main
from condense.evaluate import records
from condense.identity import digest

EVALUATE = ["--protocol", "quick", "--networks", "mlp", "--seeds", "1", "--quiet"]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The folder of two random digits of each class, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    assert main(["distill", "random", "--dataset", "digits", "--ipc", "2", "--quiet"]) == 0
    return capsys.readouterr().out.strip()


def said(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    assert main(words) == code
    return capsys.readouterr().out


def test_a_set_is_found_by_name_and_by_folder(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = Path(made).name
    weight = 20 * 64 + 20 * 8  # pixels that a user has to keep, and class numbers
    assert said(capsys, 0, "list", "sets") == f"{name}\trandom\tdigits\tipc-2\t20\t{weight}\n"
    assert said(capsys, 0, "verify", made, name) == f"{made}: intact\n{name}: intact\n"
    assert said(capsys, 0, "card", name).startswith("---\n")


def test_a_description_that_is_none_hides_no_other_set(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = Path(made).with_name("other")
    shutil.copytree(made, other)
    content = files.read_json(other / "set.json")
    content["provenance"]["budget"] = {"x": 1}
    del content["seal"]
    files.write_json(other / "set.json", {**content, "seal": digest(content)})
    first, second = said(capsys, 0, "list", "sets").splitlines()
    assert first.startswith(f"{Path(made).name}\trandom\tdigits")
    assert second.startswith("other\t")
    assert "provenance.budget.x" in second
    assert "provenance.budget.x" in said(capsys, 1, "verify", "other")
    for command in (["show", "other"], ["card", "other"]):
        assert main(command) == 2
        assert "provenance.budget.x" in capsys.readouterr().err


def test_the_same_request_finds_the_finished_set(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(made).rglob("*")}
    again = said(capsys, 0, "distill", "random", "--dataset", "digits", "--ipc", "2", "--quiet")
    assert again.strip() == made
    assert {path: path.stat().st_mtime_ns for path in Path(made).rglob("*")} == before


def test_a_tampered_set_is_refused_by_name(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = Path(made) / "data.safetensors"
    data.write_bytes(data.read_bytes()[:-1])
    assert str(data) in said(capsys, 1, "verify", made)
    assert main(["evaluate", made, *EVALUATE]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"condense: error: {data}: damaged file")
    assert not Path("runs/results").exists()


def test_records_that_could_not_be_written_are_told_of_before_the_judging(
    made: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "locked")  # whatever a superuser may do
    Path("locked").mkdir()
    assert main(["evaluate", made, *EVALUATE, "--results", "locked"]) == 2
    said = "locked cannot be written to; choose another --results, or change its permissions"
    assert capsys.readouterr().err == f"condense: error: {said}\n"
    assert list(Path("runs/work").iterdir()) == list(Path("locked").iterdir()) == []


def test_the_pictures_of_a_selection_are_shown(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = Path(said(capsys, 0, "show", made, "--per-class", "1").strip())
    with Image.open(shown) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 8


def test_a_set_goes_out_and_comes_back(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, 0, "export", made, "npz", "out.npz") == "out.npz\n"
    with np.load("out.npz") as archive:
        assert archive["images"].shape == (20, 1, 8, 8)
    assert main(["export", made, "npz", "out.npz"]) == 2
    assert main(["export", made, "npz", "out.npz", "--replace"]) == 0
    capsys.readouterr()
    words = ["import", "npz", "out.npz", "--dataset", "digits", "--out", "back", "--method", "theirs", "--no-probe"]
    assert said(capsys, 0, *words) == "back\n"
    assert said(capsys, 0, "verify", "back") == "back: intact\n"
    assert main(["import", "npz", "absent.npz", *words[3:]]) == 2
    assert "back exists and is not empty" in capsys.readouterr().err


def test_a_set_is_not_replaced_by_what_is_read_from_it(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    for target in (made, str(Path(made).parent), "."):
        assert main(["export", made, "self-contained", target, "--replace"]) == 2
        assert "which is read; choose another target" in capsys.readouterr().err
    assert main(["export", made, "npz", "out/set.npz"]) == 0
    words = ["import", "npz", "out/set.npz", "--dataset", "digits", "--no-probe", "--replace", "--out"]
    assert main([*words, "out"]) == 2
    assert "which is read; choose another target" in capsys.readouterr().err
    Path("home").mkdir()
    Path("home/thesis.txt").touch()
    assert main([*words, "home"]) == 2
    assert "home is not replaced, since it is no sound set" in capsys.readouterr().err
    assert Path("home/thesis.txt").exists()
    assert main([*words, "back"]) == main([*words, "back"]) == 0
    capsys.readouterr()
    assert said(capsys, 0, "verify", made) == f"{made}: intact\n"


def test_an_import_is_probed(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", made, "npz", "out.npz"]) == 0
    capsys.readouterr()
    assert main(["import", "npz", "out.npz", "--dataset", "digits", "--out", "back"]) == 0
    assert "probe: " in capsys.readouterr().err


def test_a_judged_set_stands_on_the_leaderboard(
    made: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = said(capsys, 0, "evaluate", made, *EVALUATE)
    assert line.startswith(f"{Path(made).name}\tmlp\t")
    (path,) = records.paths("runs/results")
    assert records.read(path).command == f"condense evaluate {made} {' '.join(EVALUATE)}"
    assert "Random" in said(capsys, 0, "leaderboard", "--results", "runs/results")
    with monkeypatch.context() as patch:
        patch.setattr(records, "JUDGE", 99)
        assert main(["evaluate", made, *EVALUATE]) == 2  # what another judge found is not reported as this one's
        assert "was written with another judge" in capsys.readouterr().err
    assert said(capsys, 0, "leaderboard", "--results", "runs/results", "--check") == ""
    table = next(Path("runs/results/leaderboard").rglob("*.md"))
    table.write_text("edited by hand")
    assert str(table) in said(capsys, 1, "leaderboard", "--results", "runs/results", "--check")
    assert str(path) in said(capsys, 0, "verify", str(path))
    assert "mlp" in said(capsys, 0, "card", made, "--results", "runs/results")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--dataset", "digitz", "--ipc", "1"], "digitz"),
        (["--dataset", "digits", "--ipc", "100000"], "training images, 100000 were asked for; lower the budget"),
        (["--dataset", "digits", "--ipc", "1", "--preset", "cup"], "did you mean cpu?"),
        (["--dataset", "digits", "--ipc", "1", "--set", "preprocesing=zca"], "did you mean preprocessing?"),
        (["--dataset", "digits", "--ipc", "1", "--out", "taken"], "taken"),
    ],
)
def test_a_request_that_cannot_be_done_leaves_nothing_behind(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    assert main(["distill", "random", *words, "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert told in err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
