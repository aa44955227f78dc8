from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from condense import files
from condense.errors import BadInput
from condense.run import Run, cache, clock
from condense.run import run as run_module

OpenRun = Callable[..., Run]
KEY = {"kind": "teacher", "epochs": 3}


class Builder:
    """Sums random numbers in a loop that can be interrupted, and counts the steps."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.die_at: int | None = None

    def __call__(self, run: Run) -> dict[str, Any]:
        x = torch.zeros(2)
        for step in run.loop("train", 4, run.state(x=x)):
            if step == self.die_at:
                raise KeyboardInterrupt
            x += torch.rand(2, generator=run.rng("draw", step))
            self.steps.append(step)
        return {"x": x, "count": 4, "note": "done", "ratio": 0.1}


def test_a_value_is_built_once_and_shared_between_runs_of_any_seed(open_run: OpenRun) -> None:
    build = Builder()
    first = open_run(seed=0).cached(KEY, build)
    second = open_run("other", seed=1).cached(dict(reversed(KEY.items())), build)
    assert build.steps == [0, 1, 2, 3]
    assert torch.equal(first.pop("x"), second.pop("x"))
    assert first == second == {"count": 4, "note": "done", "ratio": 0.1}


def test_another_version_is_built_anew_from_the_same_draws(open_run: OpenRun) -> None:
    first, second = Builder(), Builder()
    run = open_run()
    old = run.cached(KEY, first)
    assert torch.equal(old["x"], run.cached(KEY, second, version=2)["x"])
    assert second.steps == [0, 1, 2, 3]
    run.cached(KEY, Builder(), version=2)
    assert run.cached(KEY, lambda sub: {"x": torch.ones(2)}, version=3)["x"].tolist() == [1.0, 1.0]
    assert torch.equal(run.cached(KEY, lambda sub: {"x": torch.ones(2)}, version=1)["x"], old["x"])
    assert cache.verify(run.cache_dir) == []


def test_engines_share_a_value_unless_one_is_named(open_run: OpenRun) -> None:
    first, other, same = Builder(), Builder(), Builder()
    run = open_run()
    shared = run.cached(KEY, first)["x"]
    assert torch.equal(run.cached(KEY, other, engine="cuda")["x"], shared)  # from the same draws
    run.cached(KEY, same, engine="cuda")
    assert (len(first.steps), len(other.steps), len(same.steps)) == (4, 4, 0)
    assert cache.verify(run.cache_dir) == []


def test_the_seed_of_a_value_is_its_key(open_run: OpenRun, tmp_path: Path) -> None:
    values = [
        open_run(name, seed=seed, cache_dir=tmp_path / name).cached({**KEY, "epochs": epochs}, Builder())["x"]
        for name, seed, epochs in (("a", 0, 3), ("b", 1, 3), ("c", 0, 4))
    ]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_an_interrupted_builder_goes_on_where_it_stopped(open_run: OpenRun, tmp_path: Path) -> None:
    expected = open_run("unbroken", cache_dir=tmp_path / "other").cached(KEY, Builder())["x"]
    build = Builder()
    build.die_at = 2
    with pytest.raises(KeyboardInterrupt):
        open_run().cached(KEY, build)
    build.die_at = None
    assert torch.equal(open_run("second").cached(KEY, build)["x"], expected)
    assert build.steps == [0, 1, 2, 3]
    assert [path.name for path in cache.root(tmp_path / "cache").iterdir() if path.is_dir()] == [
        cache.place(KEY, tmp_path / "cache").name
    ]


def test_values_inside_values_resume_by_themselves(open_run: OpenRun) -> None:
    inner, calls = Builder(), []

    def outer(run: Run) -> dict[str, Any]:
        calls.append("outer")
        x = run.cached({"kind": "inner"}, inner)["x"]
        if len(calls) == 1:
            raise KeyboardInterrupt
        return {"x": 2 * x}

    with pytest.raises(KeyboardInterrupt):
        open_run().cached({"kind": "outer"}, outer)
    open_run("second").cached({"kind": "outer"}, outer)
    assert calls == ["outer", "outer"]
    assert inner.steps == [0, 1, 2, 3]


def test_a_value_that_needs_itself_is_refused(open_run: OpenRun) -> None:
    with pytest.raises(BadInput, match=r"needs itself while it is being built"):
        open_run().cached(KEY, lambda run: run.cached(KEY, Builder()))


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [cache.DATA, cache.FACTS])
@pytest.mark.parametrize("how", [damage, Path.unlink])
def test_a_damaged_value_is_named_and_built_again(
    open_run: OpenRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, how: Callable[[Path], None]
) -> None:
    build = Builder()
    expected = open_run().cached(KEY, build)["x"]
    path = cache.place(KEY, tmp_path / "cache") / name
    how(path)
    assert [name in problem for problem in cache.verify(tmp_path / "cache")] == [True]
    assert torch.equal(open_run().cached(KEY, build)["x"], expected)
    assert build.steps == [0, 1, 2, 3] * 2
    assert f"{path}: damaged file" in capsys.readouterr().err
    assert cache.verify(tmp_path / "cache") == []


def test_the_value_of_another_key_is_not_taken(open_run: OpenRun, tmp_path: Path) -> None:
    build = Builder()
    open_run().cached(KEY, build)
    other = {**KEY, "epochs": 4}
    cache.place(KEY, tmp_path / "cache").rename(cache.place(other, tmp_path / "cache"))
    open_run().cached(other, build)
    assert len(build.steps) == 8


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "x is a object; keep tensors, numbers and texts"),
        (float("inf"), "x is inf; a cached value must be finite"),
        (torch.tensor(float("nan")), "x is not finite"),
    ],
)
def test_what_cannot_be_kept_is_refused(open_run: OpenRun, value: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        open_run().cached(KEY, lambda run: {"x": value})


def test_entries_are_listed_and_cleared(open_run: OpenRun, tmp_path: Path) -> None:
    base = tmp_path / "cache"
    assert cache.entries(base) == []
    assert cache.clear(base) == 0
    run = open_run()
    run.cached(KEY, Builder())
    run.cached({"kind": "other"}, Builder())
    listed = cache.entries(base)
    assert sorted(entry.key["kind"] for entry in listed) == ["other", "teacher"]
    freed = cache.clear(base)
    assert freed == sum(entry.nbytes for entry in listed) > 0
    assert cache.entries(base) == []


def test_a_value_that_is_being_built_is_not_cleared(open_run: OpenRun, tmp_path: Path) -> None:
    def build(run: Run) -> dict[str, Any]:
        assert cache.clear(tmp_path / "cache") == 0
        return Builder()(run)

    assert open_run().cached(KEY, build)["count"] == 4


def build_slowly(folder: Path, cache_dir: Path, out: Path) -> None:
    def build(run: Run) -> dict[str, Any]:
        files.write_text(out, "built")
        time.sleep(0.1)
        return Builder()(run)

    with Run(folder, seed=0, cache_dir=cache_dir) as run:
        values = run.cached(KEY, build)
    files.write_json(out.with_suffix(".json"), values["x"].tolist())


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    outs = [tmp_path / "a.txt", tmp_path / "b.txt"]
    workers = [
        context.Process(target=build_slowly, args=(tmp_path / out.stem, tmp_path / "cache", out)) for out in outs
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(out.is_file() for out in outs) == 1
    values = [files.read_json(out.with_suffix(".json")) for out in outs]
    assert values[0] == values[1]


class Watch:
    """A clock that goes only when somebody works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 100.0
        for module in (clock, run_module):
            monkeypatch.setattr(module, "monotonic", lambda: self.now)

    def work(self, seconds: float) -> float:
        self.now += seconds
        return seconds


def test_a_shared_value_costs_every_run_what_its_building_took(
    open_run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)

    def inner(run: Run) -> dict[str, Any]:
        return {"x": watch.work(2.0)}

    def outer(run: Run) -> dict[str, Any]:
        return {"x": run.cached({"kind": "inner"}, inner)["x"] + watch.work(5.0)}

    for name in ("builds", "finds"):
        run = open_run(name)
        watch.work(1.0)
        for key, build in (({"kind": "outer"}, outer), ({"kind": "inner"}, inner), ({"kind": "outer"}, outer)):
            run.cached(key, build)
        watch.work(0.5)
        assert run.own_seconds == 1.5
        assert sorted(run.shared_seconds.values()) == [2.0, 5.0]
        assert run.elapsed == (8.5 if name == "builds" else 1.5)


def test_what_shared_values_took_survives_a_restart_and_counts_inside_jobs(
    open_run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    run = open_run()
    for job in run.jobs("parts", [0]):
        job.run.cached(KEY, lambda sub: {"x": watch.work(3.0)})
        watch.work(1.0)
        job.save(done=torch.zeros(1))
    for _ in run.loop("rest", 1, run.state(x=torch.zeros(1))):
        watch.work(0.25)
    again = open_run()
    list(again.jobs("parts", [0]))
    assert (again.own_seconds, list(again.shared_seconds.values())) == (1.25, [3.0])
