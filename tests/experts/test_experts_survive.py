"""Experts through kills, full disks, damaged files and other processes: the same bytes in the end."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_faults import KINDS, Death, Faults, Kind, injected
from expert_cases import RECIPES, Steps, content, same

from condense import files
from condense.data import Split
from condense.experts import Experts, Store, experts, spent
from condense.experts.trainer import Trainer
from condense.experts.trajectory import STORES
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.training import Engine

OpenRun = Callable[..., Run]
Ask = Callable[..., Experts]

pytestmark = pytest.mark.usefixtures("no_stray_output")


@pytest.mark.parametrize("recipe", ["mtt", "ast"])
@pytest.mark.parametrize("store", STORES)
def test_training_killed_between_epochs_gives_the_same_bytes(
    recipe: str, store: Store, ask: Ask, open_run: OpenRun
) -> None:
    expected = content(ask(recipe, "other", store=store))
    for _ in range(6):
        with contextlib.suppress(KeyboardInterrupt):
            ask(recipe, store=store, run=open_run(checkpoint_seconds=0.0, progress=Steps(die_after=1)))
    assert content(ask(recipe, store=store)) == expected


@pytest.mark.soak  # two sizes of batch are compiled, which takes a minute
# torch 2.13 imports its own deprecated module when it compiles; to go when 2.14 is the minimum (2026-11).
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_compiled_training_killed_between_epochs_gives_the_same_bytes(ask: Ask, open_run: OpenRun) -> None:
    engine = Engine(compile=True, channels_last=True)
    expected = content(ask("ftd", "other", engine=engine))
    for _ in range(6):
        with contextlib.suppress(KeyboardInterrupt):
            ask("ftd", engine=engine, run=open_run(checkpoint_seconds=0.0, progress=Steps(die_after=1)))
    assert content(ask("ftd", engine=engine)) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recipe", ["mtt", "ast"])
def test_training_that_fails_anywhere_gives_the_same_bytes(
    recipe: str, kind: Kind, train: Split, space: Preprocessing, tmp_path: Path
) -> None:
    broken = dataclasses.replace(RECIPES[recipe], batch=20)  # one step an epoch

    def ask_once() -> dict[str, bytes]:
        with Run(tmp_path / "run", seed=0, cache_dir=tmp_path / "cache", checkpoint_seconds=0.0) as run:
            return content(experts(train, space, broken, count=1, epochs=2, run=run))

    with injected(Faults(kind)) as faults:
        expected = ask_once()
    assert faults.count >= 4
    # Every point once; the other combinations pass the same points.
    every = recipe == "mtt" and kind == "death at a file operation"
    for at in range(0, faults.count, 1 if every else 5):
        shutil.rmtree(tmp_path / "cache")
        with injected(Faults(kind, at)), contextlib.suppress(Death, OSError):
            ask_once()
        with injected(Faults("death at a file operation")):
            assert ask_once() == expected, f"point {at}"
        assert [str(path) for path in tmp_path.rglob(".tmp-*")] == [], f"point {at} left temporaries"


def test_an_interruption_frees_the_locks_while_its_error_is_looked_at(ask: Ask, open_run: OpenRun) -> None:
    with pytest.raises(KeyboardInterrupt) as kept:
        ask(run=open_run(progress=Steps(die_after=2)))
    assert kept.value.__traceback__ is not None
    steps = Steps()
    ask(run=open_run(progress=steps))
    assert not any("waiting" in line for line in steps.said)


def test_another_number_of_epochs_after_an_interruption(ask: Ask, open_run: OpenRun) -> None:
    for store in STORES:
        expected = ask("ast", "other", epochs=4, store=store)
        with pytest.raises(KeyboardInterrupt):
            ask("ast", epochs=6, store=store, run=open_run(checkpoint_seconds=0.0, progress=Steps(die_after=3)))
        assert torch.equal(ask("ast", count=1, epochs=2, store=store).at(0, 2), expected.at(0, 2))
        assert same(ask("ast", epochs=4, store=store), expected)


def test_a_shorter_need_leaves_the_checkpoint_of_a_longer_training(ask: Ask, open_run: OpenRun) -> None:
    ask("ast", count=1, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        ask("ast", count=1, epochs=6, run=open_run(checkpoint_seconds=0.0, progress=Steps(die_after=3)))
    ask("ast", count=1, epochs=2)
    steps = Steps()
    ask("ast", count=1, epochs=6, run=open_run(progress=steps))
    assert steps.trained == 2  # the fifth again, whose last step was not saved when the kill came, and the sixth


def flip(path: Path, place: int) -> None:
    written = bytearray(path.read_bytes())
    written[place] ^= 1
    path.write_bytes(written)


@pytest.mark.parametrize("recipe", ["mtt", "ast"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.97])
def test_a_damaged_file_is_named_and_rebuilt(
    recipe: str, part: float, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = ask(recipe)
    expected = content(pool)
    damaged = pool.folder / "0001.trajectory"
    flip(damaged, int(part * damaged.stat().st_size))
    again = ask(recipe, epochs=4)
    told = capsys.readouterr().err
    assert f"{damaged}: damaged (" in told
    assert told.count("damaged (") == 1
    assert same(again, ask(recipe, "other", epochs=4))
    assert content(again)["0000.trajectory"].startswith(expected["0000.trajectory"])


def test_a_checkpoint_that_is_ahead_of_a_mended_file_is_not_used(ask: Ask, open_run: OpenRun) -> None:
    expected = ask(cache="other", count=1)
    with pytest.raises(KeyboardInterrupt):
        ask(count=1, run=open_run(checkpoint_seconds=0.0, progress=Steps(die_after=2)))
    (path,) = (expected.folder.parents[2] / "cache").rglob("0000.trajectory")
    flip(path, path.stat().st_size // 2)
    assert same(ask(count=1), expected)


def test_a_checkpoint_that_is_ahead_of_a_file_without_its_end_is_not_used(
    ask: Ask, open_run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ask(cache="other", count=1)
    step, calls = Trainer.step, itertools.count(1)

    def killed_in_the_third_epoch(self: Trainer, *arguments: Any) -> None:
        if next(calls) == 2 * 3 + 2:  # three batches make an epoch
            raise KeyboardInterrupt
        step(self, *arguments)

    monkeypatch.setattr(Trainer, "step", killed_in_the_third_epoch)
    with pytest.raises(KeyboardInterrupt):
        ask(count=1, run=open_run(checkpoint_seconds=0.0))
    (path,) = (expected.folder.parents[2] / "cache").rglob("0000.trajectory")
    assert path.with_name("0.work").is_dir()
    os.truncate(path, path.stat().st_size - 10)
    assert same(ask(count=1), expected)


def test_a_file_that_lost_its_end_after_the_last_checkpoint_is_completed(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ask(cache="other", count=1)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(spent, "note", interrupted)
        ask(count=1)
    (path,) = (expected.folder.parents[2] / "cache").rglob("0000.trajectory")
    os.truncate(path, path.stat().st_size - 10)
    assert same(ask(count=1), expected)


def interrupted(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_a_removed_file_is_trained_again(ask: Ask) -> None:
    pool = ask()
    expected = content(pool)
    (pool.folder / "0000.trajectory").unlink()
    assert content(ask()) == expected


def test_nothing_but_the_trajectories_and_their_seconds_stays_behind(ask: Ask) -> None:
    left = {path.name for path in ask().folder.iterdir() if path.suffix != ".lock"}
    assert left == {"0000.trajectory", "0000.seconds", "0001.trajectory", "0001.seconds"}


def one_process(place: Path, train: Split, space: Preprocessing, name: str, together: Any) -> None:
    """Leaves the number of steps that it made in a file."""
    torch.set_num_threads(1)
    steps = itertools.count()
    step = Trainer.step

    def counted(*parts: Any) -> None:
        next(steps)
        step(*parts)

    Trainer.step = counted  # type: ignore[method-assign]  # of this process alone
    with Run(place / name, seed=0, cache_dir=place / "cache", checkpoint_seconds=0.0) as run:
        together.wait()
        experts(train, space, RECIPES["mtt"], count=3, epochs=2, run=run)
    (place / f"{name}.steps").write_text(str(next(steps)))


def test_processes_that_ask_at_once_share_the_work_out(
    train: Split, space: Preprocessing, tmp_path: Path, ask: Ask
) -> None:
    context = multiprocessing.get_context("fork")
    together = context.Barrier(3)
    workers = [
        context.Process(target=one_process, args=(tmp_path, train, space, name, together)) for name in ("a", "b", "c")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    made = [int((tmp_path / f"{name}.steps").read_text()) for name in ("a", "b", "c")]
    assert sum(made) == 3 * 2 * 3  # three experts, two epochs of three batches: nothing twice
    assert max(made) < sum(made)
    expected = content(ask(cache="other", count=3, epochs=2))
    assert content(ask(count=3, epochs=2)) == expected


def test_a_busy_expert_is_left_to_its_trainer(ask: Ask, open_run: OpenRun) -> None:
    folder = ask("mtt", "other", count=1).folder
    order: list[int] = []
    mine = folder.parents[2] / "cache" / "experts" / folder.name / "0000.trajectory"

    class Watch(Steps):
        def advance(self, done: int, values: object = None) -> None:
            order.append(done)
            if done == 3:  # expert 1 is done, and 0 is still held elsewhere
                held.close()

    held = contextlib.ExitStack()
    held.enter_context(files.lock(mine))
    watch = Watch()
    ask(run=open_run(progress=watch))
    assert order == [1, 2, 3, 4, 5, 6]
    assert watch.said[1:] == ["waiting for another process, which trains 1 of the experts"]


def test_a_killed_batch_of_experts_goes_on(ask: Ask, open_run: OpenRun) -> None:
    engine = Engine("batched")
    expected = content(ask(cache="other", engine=engine))
    with pytest.raises(KeyboardInterrupt):
        ask(engine=engine, run=open_run(checkpoint_seconds=0.0, progress=Steps(die_after=2)))
    assert content(ask(engine=engine)) == expected
