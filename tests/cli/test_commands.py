"""Each command hands the request on as it was given, and prints the result on stdout and nothing else there."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from condense import allocator, api, methods
from condense.api import BenchReport, benching
from condense.budget import Budget
from condense.cli import main, tables
from condense.errors import BadInput, Unsuitable
from condense.evaluate import leaderboard, protocol


class Calls:
    """Stands in for a function, keeps what it was called with, and answers with `result`."""

    def __init__(self, result: Any):
        self.result = result
        self.given: dict[str, Any] = {}
        self.positional: tuple[Any, ...] = ()

    def __call__(self, *positional: Any, **named: Any) -> Any:
        self.positional, self.given = positional, named
        return self.result


@pytest.fixture
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_distill_hands_on_what_was_asked_and_prints_the_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = Calls(Path("runs/sets/one"))
    monkeypatch.setattr(api, "distill", calls)
    words = ["distill", "dm", "--dataset", "digits", "--total", "20", "--seed", "3", "--preset", "cpu", "--quiet"]
    more = ["--set", "steps=5", "--set", "network=mlp:width=3", "--time-budget", "60", "--out", "here"]
    assert main([*words, *more]) == 0
    assert capsys.readouterr().out == "runs/sets/one\n"
    assert calls.positional == ("dm", "digits")
    place = calls.given.pop("place")
    assert (place.device, place.time_budget, place.checkpoint_seconds) == ("cpu", 60.0, 30.0)
    assert calls.given == {
        "budget": Budget(total=20),
        "seed": 3,
        "preset": "cpu",
        "overrides": {"steps": "5", "network": "mlp:width=3"},
        "out": Path("here"),
    }


def test_bench_prints_the_leaderboard_and_fails_when_something_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    calls = Calls(BenchReport([], ["dm, ipc-1, seed 0: loss is nan"]))
    drawn = Calls([])
    monkeypatch.setattr(api, "bench", calls)
    monkeypatch.setattr(leaderboard, "write", drawn)
    monkeypatch.setattr(leaderboard, "text", Calls("the table"))
    words = ["bench", "--dataset", "digits", "--ipc", "1", "10", "--methods", "dm", "random", "--preset", "none"]
    assert main([*words, "--results", str(tmp_path), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert out == "the table\n"
    assert "condense: failed: dm, ipc-1, seed 0: loss is nan\n" in err
    assert calls.positional == ("digits", [Budget(ipc=1), Budget(ipc=10)])
    assert calls.given["methods"] == ["dm", "random"]
    assert calls.given["preset"] is None
    assert calls.given["command"] == "condense " + " ".join([*words, "--results", str(tmp_path), "--quiet"])
    assert drawn.positional == (tmp_path, tmp_path / "data_cards")


def test_a_bench_without_failures_succeeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = Calls(BenchReport([], []))
    monkeypatch.setattr(api, "bench", calls)
    assert main(["bench", "--dataset", "digits", "--ipc", "1", "--results", str(tmp_path), "--quiet"]) == 0
    assert (calls.given["preset"], calls.given["protocol"], calls.given["methods"]) == ("cpu", "quick", None)


def test_a_bench_over_all_methods_leaves_out_what_cannot_be_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked: list[str] = []

    def distill(method: str, *_: Any, **__: Any) -> Path:
        asked.append(method)
        raise Unsuitable("one image a class is too few")

    monkeypatch.setattr(benching, "distill", distill)
    monkeypatch.setattr(leaderboard, "write", Calls([]))
    monkeypatch.setattr(leaderboard, "text", Calls("the table"))
    words = ["bench", "--dataset", "digits", "--ipc", "1", "--results", str(tmp_path), "--quiet"]
    assert main(words) == 0
    assert len(asked) > 8
    assert "condense: left out: infer, ipc-1, seed 0: one image a class is too few\n" in capsys.readouterr().err
    assert main([*words, "--methods", "infer", "random"]) == 2  # asked for by name
    assert asked[-1] == "infer"


@pytest.mark.parametrize("named", ["quick", "quick-1", "mine.json"])
def test_bench_judges_under_the_protocol_that_was_named(
    monkeypatch: pytest.MonkeyPatch, in_a_folder_of_its_own: Path, named: str
) -> None:
    shipped = json.loads((protocol.FOLDER / "quick-1.json").read_text())
    (in_a_folder_of_its_own / "mine.json").write_text(json.dumps(shipped | {"name": "mine"}))
    judged = Calls(Path("record"))
    monkeypatch.setattr(benching, "distill", Calls(Path("set")))
    monkeypatch.setattr(benching, "score", judged)
    monkeypatch.setattr(benching.records, "read", Calls(SimpleNamespace(cells={})))
    assert api.bench("digits", [Budget(ipc=1)], methods=["random"], protocol=named).records == [Path("record")]
    assert judged.positional == (Path("set"), named)


@pytest.mark.parametrize("named", ["quick-7", "missing.json", "broken.json"])
def test_bench_refuses_a_protocol_before_it_distils(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_a_folder_of_its_own: Path, named: str
) -> None:
    monkeypatch.setattr(benching, "distill", lambda *_, **__: pytest.fail("distilled for a protocol that is none"))
    (in_a_folder_of_its_own / "broken.json").write_text("{")
    assert main(["bench", "--dataset", "digits", "--ipc", "1", "--methods", "random", "--protocol", named]) == 2
    assert named in capsys.readouterr().err


def test_bench_refuses_a_budget_before_it_distils_for_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_a_folder_of_its_own: Path
) -> None:
    monkeypatch.setattr(benching, "distill", lambda *_, **__: pytest.fail("distilled for the budget before"))
    assert main(["bench", "--dataset", "digits", "--ipc", "1", "9999", "--methods", "random"]) == 2
    assert "9999 were asked for; lower the budget" in capsys.readouterr().err


def test_bench_refuses_results_that_cannot_be_kept_before_it_distils(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_a_folder_of_its_own: Path
) -> None:
    monkeypatch.setattr(benching, "distill", lambda *_, **__: pytest.fail("distilled for results that have no place"))
    (in_a_folder_of_its_own / "file").touch()
    assert main(["bench", "--dataset", "digits", "--ipc", "1", "--methods", "random", "--results", "file"]) == 2
    assert "file is a file where a folder should be; choose another --results" in capsys.readouterr().err


def test_evaluate_looks_at_every_set_before_it_judges_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_a_folder_of_its_own: Path
) -> None:
    monkeypatch.setattr(api, "score", lambda *_, **__: pytest.fail("judged before every set was found"))
    assert main(["evaluate", "nowhere", "--protocol", "quick"]) == 2
    assert capsys.readouterr().err.startswith("condense: error: unknown distilled set 'nowhere'")


def test_a_device_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distill", "random", "--dataset", "digits", "--ipc", "1", "--device", "cuda:99"]) == 2
    assert "device 'cuda:99' cannot be used (" in capsys.readouterr().err


def test_threads_are_set_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(allocator, "prepare", asked.append)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(api, "distill", Calls(Path("set")))
    assert main(["distill", "dm", "--dataset", "digits", "--ipc", "1", "--threads", "3", "--quiet"]) == 0
    assert asked == [3, 3]


@pytest.mark.parametrize("kind", ["methods", "datasets", "networks", "protocols"])
def test_lists_are_the_same_things_as_text_and_as_json(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["list", kind, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found
    assert [line.split("\t")[0] for line in lines] == [facts["name"] for facts in found]


def test_no_sets_is_an_empty_list(capsys: pytest.CaptureFixture[str], in_a_folder_of_its_own: Path) -> None:
    assert main(["list", "sets", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_a_broken_method_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def get(name: str) -> None:
        raise BadInput(f"{name} is broken")

    monkeypatch.setattr(methods, "get", get)
    assert main(["list", "methods"]) == 0
    assert "random\trandom is broken" in capsys.readouterr().out


def test_a_terminal_gets_a_ruled_table_with_names_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    tables.show(("name", "note"), [("cifar10[0-4]", None)])
    assert "name" in screen.getvalue()
    assert "cifar10[0-4]" in screen.getvalue()
    assert "─" in screen.getvalue()


def test_the_cache_is_listed_verified_and_cleared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, stray = tmp_path / "preprocessing" / "zca-1.safetensors", tmp_path / "letters" / "to-mother.txt"
    for path in (good, stray):
        path.parent.mkdir()
        path.write_bytes(b"no tensors")
    where = ["--cache-dir", str(tmp_path)]
    assert main(["cache", "list", *where]) == 0
    assert capsys.readouterr().out == "whitening\tzca-1.safetensors\t10 B\n"
    assert main(["cache", "verify", *where]) == 1
    assert f"{good}: damaged file" in capsys.readouterr().out
    assert main(["cache", "clear", *where]) == 0
    assert not good.exists()
    assert stray.exists()
    assert main(["cache", "verify", *where]) == 0


def test_a_file_for_a_cache_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "cache"
    place.write_text("")
    assert main(["cache", "--cache-dir", str(place)]) == 2
    assert "is a file where the cache folder should be" in capsys.readouterr().err
