from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from condense import disk, files
from condense.errors import BadInput, DamagedFile
from condense.run import Run, Store, clock

OpenRun = Callable[..., Run]
ITEMS = ["a", "b", "c", "d"]
SCHEMA = {"target": ("float16", (2, 3)), "indices": ("int64", (None,))}


def work(run: Run, die_at: int | None = None) -> tuple[list[float], list[int]]:
    """Each job draws a number; returns all results and the jobs that this process did."""
    jobs = run.jobs("work", ITEMS)
    done = []
    for job in jobs:
        if job.index == die_at:
            raise KeyboardInterrupt
        assert job.item == ITEMS[job.index]
        job.save(x=torch.rand((), generator=job.rng("draw")))
        done.append(job.index)
    return [float(result["x"]) for result in jobs.results()], done


def test_only_pending_jobs_are_done_and_results_keep_the_order(open_run: OpenRun) -> None:
    expected, done = work(open_run("unbroken"))
    assert done == [0, 1, 2, 3]
    assert len(set(expected)) == 4
    with pytest.raises(KeyboardInterrupt):
        work(open_run(), die_at=2)
    (open_run().directory / "jobs" / "work" / "00000.safetensors").unlink()
    assert work(open_run()) == (expected, [0, 2, 3])
    assert work(open_run()) == (expected, [])


def test_a_loop_inside_a_job_resumes_and_leaves_nothing_behind(open_run: OpenRun) -> None:
    steps: list[int] = []

    def recover(run: Run, die_at: int | None = None) -> list[float]:
        jobs = run.jobs("recover", [0, 1])
        for job in jobs:
            x = torch.zeros(())
            for step in job.run.loop("steps", 4, job.run.state(x=x)):
                if (job.index, step) == (1, die_at):
                    raise KeyboardInterrupt
                x += torch.rand((), generator=job.rng("draw", step))
                steps.append(step)
            job.save(x=x)
        return [float(result["x"]) for result in jobs.results()]

    expected = recover(open_run("unbroken"))
    steps.clear()
    with pytest.raises(KeyboardInterrupt):
        recover(open_run(), die_at=2)
    run = open_run()
    assert recover(run) == expected
    assert steps == [0, 1, 2, 3, 0, 1, 2, 3]
    assert sorted(os.listdir(run.directory / "jobs" / "recover")) == ["00000.safetensors", "00001.safetensors"]


def test_a_time_budget_ends_the_loops_of_jobs_and_what_it_ended_is_told_after_a_kill(
    open_run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    def recover(run: Run, die_at: int | None = None) -> list[int]:
        jobs = run.jobs("blocks", ITEMS)
        for job in jobs:
            if job.index == die_at:
                raise KeyboardInterrupt
            done = 0
            for _ in job.run.loop("steps", 4):
                now[0] += 1.0
                done += 1
            job.save(done=torch.tensor(done))
        return [int(result["done"]) for result in jobs.results()]

    def shared(run: Run) -> int:
        built = run.cached({"kind": "value"}, lambda inner: {"done": len(list(inner.loop("build", 9)))})
        return int(built["done"])

    with pytest.raises(KeyboardInterrupt):
        recover(open_run(time_budget=6.0), die_at=3)
    run = open_run(time_budget=6.0)
    assert recover(run) == [4, 2, 0, 0]
    assert run.stops == {"blocks": {"step": 0, "reason": "3 of 4 jobs: the time budget of 6 s is used up"}}
    assert shared(run) == 9  # what other runs share is whole
    free = open_run("free")
    assert recover(free) == [4, 4, 4, 4]
    assert free.stops == {}


def test_results_are_refused_before_every_job_is_done(open_run: OpenRun) -> None:
    jobs = open_run().jobs("work", ITEMS)
    with pytest.raises(BadInput, match=r"00000\.safetensors is missing; let the loop over the missing parts run"):
        jobs.results()


def test_a_job_left_without_a_result_is_refused(open_run: OpenRun) -> None:
    with pytest.raises(BadInput, match=r"jobs 'work', number 0 was left without a result; save it"):
        for _ in open_run().jobs("work", ITEMS):
            pass


@pytest.mark.parametrize(
    ("value", "message"), [(3.0, "x is not a tensor"), (torch.tensor([1.0, float("nan")]), "x is not finite")]
)
def test_a_job_saves_finite_tensors(open_run: OpenRun, value: torch.Tensor, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        for job in open_run().jobs("work", ITEMS):
            job.save(x=value)


def fill(run: Run, shards: int = 3) -> tuple[Store, list[int]]:
    store = run.store("labels", shards, SCHEMA)
    done = []
    for shard in store.missing():
        draws = shard.rng("draw")
        rows = torch.randint(9, (shard.index,), generator=draws)
        shard.write(target=torch.rand(2, 3, generator=draws).half(), indices=rows)
        done.append(shard.index)
    return store, done


def test_shards_are_written_once_and_read_one_at_a_time(open_run: OpenRun) -> None:
    store, done = fill(open_run())
    assert done == [0, 1, 2]
    again, done = fill(open_run())
    assert done == []
    assert len(again) == 3
    assert [len(again.read(index)["indices"]) for index in range(3)] == [0, 1, 2]
    assert sorted(os.listdir(store.directory)) == [f"0000{index}.safetensors" for index in range(3)]
    with pytest.raises(BadInput, match="has the parts 0 to 2, 3 was asked for"):
        again.read(3)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def replace_by_another_shape(path: Path) -> None:
    files.write_tensors(path, {"target": torch.zeros(1, 3).half(), "indices": torch.zeros(1).long()})


@pytest.mark.parametrize("damage", [flip, truncate, replace_by_another_shape])
def test_a_damaged_shard_is_refused_by_name_and_written_again(
    open_run: OpenRun, damage: Callable[[Path], None]
) -> None:
    store, _ = fill(open_run())
    path = store.directory / "00001.safetensors"
    content = path.read_bytes()
    damage(path)
    with pytest.raises(DamagedFile, match=r"00001\.safetensors: damaged file"):
        store.read(1)
    _, done = fill(open_run())
    assert done == [1]
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"target": torch.zeros(2, 3).half()}, r"fields \['target'\] where the schema has \['indices', 'target'\]"),
        (
            {"target": torch.zeros(2, 3), "indices": torch.zeros(1).long()},
            r"target is float32 \[2, 3\] where the schema has float16 \[2, 3\]",
        ),
        (
            {"target": torch.zeros(2, 4).half(), "indices": torch.zeros(1).long()},
            r"target is float16 \[2, 4\] where the schema has float16 \[2, 3\]",
        ),
    ],
)
def test_a_shard_off_the_schema_is_refused(open_run: OpenRun, tensors: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        for shard in open_run().store("labels", 1, SCHEMA).missing():
            shard.write(**tensors)


def test_an_unknown_dtype_is_refused(open_run: OpenRun) -> None:
    with pytest.raises(BadInput, match="field x has the unknown dtype 'float7'"):
        open_run().store("labels", 1, {"x": ("float7", (1,))})


def test_a_full_disk_loses_no_shard_that_was_there(open_run: OpenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run()
    written = []
    original = disk.write

    def full_after_two(handle: object, data: object) -> None:
        written.append(data)
        if len(written) > 6:  # a header and two fields in each shard
            raise OSError(errno.ENOSPC, "No space left on device")
        original(handle, data)  # type: ignore[arg-type]

    monkeypatch.setattr(disk, "write", full_after_two)
    with pytest.raises(OSError, match="No space left"):
        fill(run)
    monkeypatch.undo()
    _, done = fill(open_run())
    assert done == [2]


def share_work(folder: Path, pause: float, out: Path) -> None:
    with Run(folder, seed=0, shared=True, checkpoint_seconds=0) as run:
        state = run.state(x=torch.zeros(()))
        steps = 0
        for step in run.loop("first", 3, state):
            state.x += torch.rand((), generator=run.rng("draw", step))
            steps += 1
            time.sleep(pause)
        jobs = run.jobs("work", ITEMS * 3)
        done = []
        for job in jobs:
            time.sleep(pause)
            job.save(x=state.x + torch.rand((), generator=job.rng("draw")))
            done.append(job.index)
        values = [float(result["x"]) for result in jobs.results()]
    files.write_json(out, {"steps": steps, "done": done, "values": values})


def test_two_processes_share_out_the_jobs(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    alone = context.Process(target=share_work, args=(tmp_path / "alone", 0.0, tmp_path / "alone.json"))
    alone.start()
    alone.join()
    outs = [tmp_path / "0.json", tmp_path / "1.json"]
    workers = [context.Process(target=share_work, args=(tmp_path / "run", 0.02, out)) for out in outs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = [files.read_json(out) for out in outs]
    assert sorted(found[0]["done"] + found[1]["done"]) == list(range(12))
    assert found[0]["done"]
    assert found[1]["done"]
    assert sorted(one["steps"] for one in found) == [0, 3]
    assert found[0]["values"] == found[1]["values"] == files.read_json(tmp_path / "alone.json")["values"]


def stall(folder: Path) -> None:
    with Run(folder, seed=0, shared=True) as run:
        for job in run.jobs("work", ITEMS):
            files.write_text(folder / "stalled", str(job.index))
            time.sleep(60)


def test_the_job_of_a_dead_worker_is_done_by_another(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("fork").Process(target=stall, args=(tmp_path / "run",))
    worker.start()
    while not (tmp_path / "run" / "stalled").is_file():
        time.sleep(0.01)
    with Run(tmp_path / "run", seed=0, shared=True) as run:
        pending = iter(run.jobs("work", ITEMS))
        order = []
        for job in pending:
            order.append(job.index)
            if len(order) == 3:
                assert worker.pid is not None
                os.kill(worker.pid, signal.SIGKILL)
                worker.join()
            job.save(x=torch.zeros(1))
    assert order == [1, 2, 3, 0]
