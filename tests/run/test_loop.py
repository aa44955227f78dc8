from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from condense import files
from condense.errors import BadInput, DamagedFile, Diverged
from condense.run import Run, clock, loop
from condense.tensor_format import checksum

OpenRun = Callable[..., Run]


def count_up(
    run: Run, steps: int = 6, die_at: int | None = None, stop_at: int | None = None
) -> tuple[float, list[int]]:
    """Adds random numbers; returns the sum and the steps that this process did."""
    state = run.state(total=torch.zeros(()), last=-1)
    done = []
    for step in run.loop("count", steps, state):
        if step == die_at:
            raise KeyboardInterrupt
        state.total += torch.rand((), generator=run.rng("draw", step))
        state.last = step
        run.log(total=state.total)
        if step == stop_at:
            run.stop("that is enough")
        done.append(step)
    return float(state.total), done


def test_an_interrupted_loop_goes_on_where_it_stopped(open_run: OpenRun) -> None:
    expected, _ = count_up(open_run("unbroken"))
    with pytest.raises(KeyboardInterrupt):
        count_up(open_run(), die_at=4)
    assert count_up(open_run()) == (expected, [4, 5])


def test_a_finished_phase_is_skipped_and_gives_its_end_state_back(open_run: OpenRun) -> None:
    expected, done = count_up(open_run())
    assert done == [0, 1, 2, 3, 4, 5]
    run = open_run()
    assert count_up(run) == (expected, [])
    assert run.stops == {}


def test_a_stop_is_recorded_also_when_the_phase_is_skipped(open_run: OpenRun) -> None:
    for expected_steps in ([0, 1, 2], []):
        run = open_run()
        assert count_up(run, stop_at=2)[1] == expected_steps
        assert run.stops == {"count": {"step": 3, "reason": "that is enough"}}


def test_a_process_killed_right_after_a_stop_ends_there_too(open_run: OpenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    original = files.write_tensors

    def dies_when_finished(path: Any, tensors: Any, metadata: Any = None) -> None:
        if json.loads(metadata["checkpoint"])["finished"]:
            raise KeyboardInterrupt
        original(path, tensors, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(loop.files, "write_tensors", dies_when_finished)
        with pytest.raises(KeyboardInterrupt):
            count_up(open_run(), stop_at=2)
    run = open_run()
    assert count_up(run, stop_at=2)[1] == [2]
    assert run.stops["count"]["step"] == 3


def test_checkpoints_are_written_when_they_are_due(open_run: OpenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(loop, "monotonic", lambda: now[0])
    run = open_run(checkpoint_seconds=10.0)
    path = run.directory / "phases" / "count.safetensors"
    seen = []
    for step in run.loop("count", 25, run.state(x=0)):
        now[0] += 4.0
        if path.is_file():
            seen.append((step, json.loads(files.read_metadata(path)["checkpoint"])["step"]))
    assert [step for step, saved in seen if step == saved] == [3, 6, 9, 12, 15, 18, 21, 24]


def test_the_time_budget_counts_over_processes_and_ends_every_phase(
    open_run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    def work(run: Run, die_at: int | None = None) -> list[int]:
        done = []
        for name in ("first", "second"):
            for step in run.loop(name, 10, run.state(x=0)):
                if step == die_at:
                    raise KeyboardInterrupt
                now[0] += 1.0
                done.append(step)
        return done

    with pytest.raises(KeyboardInterrupt):
        work(open_run(time_budget=5.0), die_at=3)
    now[0] += 100.0  # between the processes
    run = open_run(time_budget=5.0)
    assert work(run) == [3, 4]
    reason = "the time budget of 5 s is used up"
    assert run.stops == {"first": {"step": 5, "reason": reason}, "second": {"step": 0, "reason": reason}}
    assert run.elapsed == 5.0


@pytest.mark.parametrize("budget", [0.0, -1.0])
def test_a_time_budget_is_positive(open_run: OpenRun, budget: float) -> None:
    with pytest.raises(BadInput, match="a time budget is a positive number of seconds"):
        open_run(time_budget=budget)


def test_divergence_of_the_state_is_found_within_check_every_steps(open_run: OpenRun) -> None:
    run = open_run(checkpoint_seconds=1e9, check_every=5)
    x = torch.zeros(2)
    with pytest.raises(Diverged, match=r"match, step 10: x is not finite; lower a step size"):
        for step in run.loop("match", 100, run.state(x=x)):
            if step == 7:
                x.fill_(math.nan)


def test_divergence_of_a_logged_value_is_found_and_its_curve_kept(open_run: OpenRun) -> None:
    run = open_run(checkpoint_seconds=1e9, check_every=5)
    with pytest.raises(Diverged, match=r"match, step 3: loss is inf"):
        for step in run.loop("match", 100):
            run.log(loss=torch.tensor(1.0 if step < 3 else math.inf))
    lines = [json.loads(line) for line in (run.directory / "curves" / "match.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [1.0, 1.0, 1.0, None, None]


def test_a_state_that_diverged_is_never_saved(open_run: OpenRun) -> None:
    run = open_run(check_every=1000)
    x = torch.zeros(2)
    with pytest.raises(Diverged):
        for step in run.loop("match", 10, run.state(x=x)):
            if step == 3:
                x.fill_(math.inf)
    kept = files.read_tensors(run.directory / "phases" / "match.safetensors")
    assert [tensor.tolist() for tensor in kept.values()] == [[0.0, 0.0]]


def test_between_checks_no_value_is_read_from_the_device(open_run: OpenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    original = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: reads.append(current) or original(self))  # type: ignore[func-returns-value]
    run = open_run(checkpoint_seconds=1e9, check_every=10)
    current = -1
    for step in run.loop("match", 30, run.state(x=torch.zeros(2))):
        current = step
        run.log(loss=torch.tensor(1.0))
    assert set(reads) == {9, 19, 29}


def test_long_curves_are_thinned_alike_with_and_without_interruption(open_run: OpenRun) -> None:
    def log(run: Run, die_at: int | None = None) -> list[dict[str, Any]]:
        for step in run.loop("match", 2500, run.state(x=0)):
            if step == die_at:
                raise KeyboardInterrupt
            run.log(loss=float(step))
        return run.curves()

    options = {"checkpoint_seconds": 0.02}
    unbroken = log(open_run("unbroken", **options))
    with pytest.raises(KeyboardInterrupt):
        log(open_run(**options), die_at=1801)
    assert log(open_run(**options)) == unbroken
    assert len(unbroken) <= 1001
    assert unbroken[-1] == {"phase": "match", "step": 2499, "loss": 2499.0}


def test_curve_lines_of_steps_done_again_are_dropped(open_run: OpenRun) -> None:
    with pytest.raises(KeyboardInterrupt):
        count_up(open_run(), die_at=3)
    curve = open_run().directory / "curves" / "count.jsonl"
    curve.write_text(curve.read_text() + '{"step": 4, "total": 99.0}\n')
    run = open_run()
    count_up(run)
    assert [point["step"] for point in run.curves()] == [0, 1, 2, 3, 4, 5]
    assert run.curves()[4]["total"] < 99.0


@pytest.mark.parametrize(("value", "message"), [(torch.zeros(2), r"loss has the shape \(2,\)"), ("x", "loss is 'x'")])
def test_only_numbers_are_logged(open_run: OpenRun, value: Any, message: str) -> None:
    run = open_run()
    with pytest.raises(BadInput, match=message):
        for _ in run.loop("match", 1):
            run.log(loss=value)


def test_one_name_is_used_once(open_run: OpenRun) -> None:
    run = open_run()
    run.loop("match", 1)
    with pytest.raises(BadInput, match="the name 'match' is used twice in one run"):
        run.jobs("match", [])


def test_a_name_is_a_part_of_a_path(open_run: OpenRun) -> None:
    with pytest.raises(BadInput, match=r"'\.\./match' cannot name a phase"):
        open_run().loop("../match", 1)


def test_a_loop_inside_a_loop_is_refused(open_run: OpenRun) -> None:
    run = open_run()
    with pytest.raises(BadInput, match="'inner' begins inside 'outer': a run has one active loop"):
        for _ in run.loop("outer", 2):
            for _ in run.loop("inner", 2):
                pass


def test_leaving_with_break_is_refused_at_the_next_phase_and_at_the_end(open_run: OpenRun) -> None:
    run = open_run()
    for _ in run.loop("match", 3):
        break
    with pytest.raises(BadInput, match=r"the loop 'match' was left with break or return; end it with run\.stop"):
        run.loop("next", 1)
    with pytest.raises(BadInput, match="the loop 'match' was left"), open_run("other") as other:
        for _ in other.loop("match", 3):
            break


def test_log_and_stop_belong_into_a_loop(open_run: OpenRun) -> None:
    run = open_run()
    with pytest.raises(BadInput, match=r"run\.log belongs into the body of a run\.loop"):
        run.log(loss=1.0)
    with pytest.raises(BadInput, match=r"run\.stop belongs into the body of a run\.loop"):
        run.stop("why")


@pytest.mark.parametrize("steps", [-1, 2.0, True])
def test_steps_are_a_whole_number(open_run: OpenRun, steps: Any) -> None:
    with pytest.raises(BadInput, match="needs a whole number of steps of at least 0"):
        open_run().loop("match", steps)


def test_a_loop_of_no_steps_is_finished_at_once(open_run: OpenRun) -> None:
    assert list(open_run().loop("match", 0)) == []


def test_another_number_of_steps_is_refused(open_run: OpenRun) -> None:
    count_up(open_run())
    with pytest.raises(BadInput, match="is a checkpoint of 6 steps, 7 were asked for"):
        count_up(open_run(), steps=7)


def test_a_damaged_checkpoint_is_refused_by_name(open_run: OpenRun) -> None:
    count_up(open_run())
    path = open_run().directory / "phases" / "count.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    remedy = f"; remove {path.parent.parent} to start that run anew"
    with pytest.raises(DamagedFile, match=r"count\.safetensors: damaged file \(its content is not what was") as caught:
        count_up(open_run())
    assert str(caught.value).endswith(remedy)
    for kept in (0, 20, 100, -1):
        path.write_bytes(content[:kept])
        with pytest.raises(DamagedFile, match=r"count\.safetensors: damaged file") as caught:
            count_up(open_run())
        assert str(caught.value).endswith(remedy)


def test_no_bit_of_a_checkpoint_can_change_unseen(tmp_path: Path) -> None:
    path = tmp_path / "phases" / "count.safetensors"
    with Run(tmp_path, seed=0, checkpoint_seconds=0.0) as run:
        count_up(run)
    content = path.read_bytes()
    expected = loop._read(path)[0]
    begin = content.index(b"{")
    for bit in range(8 * begin, 8 * len(content), 3):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            assert loop._read(path)[0] == expected
        except DamagedFile:
            continue
        assert content[bit // 8 : bit // 8 + 1] in b" ", f"bit {bit} of the header changed unseen"


def older(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The facts and tensors of a checkpoint as it was written until its facts had a digest."""
    tensors = files.read_tensors(path)
    return {**json.loads(files.read_metadata(path)["checkpoint"]), "checksum": checksum(tensors)}, tensors


def test_a_checkpoint_of_an_older_version_is_continued(open_run: OpenRun) -> None:
    expected, _ = count_up(open_run("unbroken"))
    with pytest.raises(KeyboardInterrupt):
        count_up(open_run(), die_at=4)
    path = open_run().directory / "phases" / "count.safetensors"
    facts, tensors = older(path)
    files.write_tensors(path, tensors, {"checkpoint": json.dumps(facts)})
    assert count_up(open_run()) == (expected, [4, 5])


@pytest.mark.parametrize("missing", ["step", "steps", "finished", "stopped", "state", "checksum"])
def test_an_older_checkpoint_that_lacks_a_fact_is_refused(open_run: OpenRun, missing: str) -> None:
    count_up(open_run())
    path = open_run().directory / "phases" / "count.safetensors"
    facts, tensors = older(path)
    del facts[missing]
    files.write_tensors(path, tensors, {"checkpoint": json.dumps(facts)})
    with pytest.raises(DamagedFile, match="to start that run anew"):
        count_up(open_run())


def test_a_run_is_continued_only_for_the_same_request_and_seed(open_run: OpenRun) -> None:
    open_run(request={"config": {"lr": 0.1}, "ipc": 1})
    open_run(request={"config": {"lr": 0.1}, "ipc": 1})
    with pytest.raises(BadInput, match=r"another request \(request\.config\.lr is 0\.1 there, 0\.2 was asked for\)"):
        open_run(request={"config": {"lr": 0.2}, "ipc": 1})
    with pytest.raises(BadInput, match=r"another request \(seed is 0 there, 1 was asked for\)"):
        open_run(request={"config": {"lr": 0.1}, "ipc": 1}, seed=1)


def test_a_damaged_description_is_refused_by_name(open_run: OpenRun) -> None:
    path = open_run().directory / "run.json"
    path.write_text("[]")
    with pytest.raises(DamagedFile, match=r"run\.json: damaged file \(not the description of a run\)"):
        open_run()


def test_a_directory_serves_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        Run(tmp_path / "run", seed=0),
        pytest.raises(BadInput, match="run is in use by another process"),
    ):
        Run(tmp_path / "run", seed=0)
    Run(tmp_path / "run", seed=0).close()


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(BadInput, match="is a file where the folder of a run is needed"):
        Run(tmp_path / "run", seed=0)


def test_the_locks_of_a_failed_loop_are_free_while_its_traceback_lives(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as kept, Run(tmp_path / "run", seed=0) as run:
        for _ in run.jobs("work", [1]):
            raise KeyboardInterrupt
    with Run(tmp_path / "run", seed=0) as run:
        for job in run.jobs("work", [1]):
            job.save(x=torch.zeros(1))
    assert kept.value is not None


def test_randomness_depends_on_seed_name_and_numbers_alone(open_run: OpenRun) -> None:
    def draw(run: Run, *parts: Any) -> float:
        return float(torch.rand((), generator=run.rng(*parts)))

    run = open_run()
    values = [draw(run, "a"), draw(run, "a", 0), draw(run, "a", 0, 1), draw(run, "a", 1, 0), draw(run, "b", 0)]
    assert len(set(values)) == 5
    assert draw(run, "a", 0) == draw(open_run("other"), "a", 0) != draw(open_run("third", seed=1), "a", 0)
    with pytest.raises(BadInput, match=r"randomness is derived from names and whole numbers, got 0\.5"):
        run.rng("a", 0.5)  # type: ignore[arg-type]


def test_validation_is_for_methods_that_select(open_run: OpenRun) -> None:
    with pytest.raises(BadInput, match=r"run\.validate is for methods that declare selects=True"):
        open_run().validate(None)  # type: ignore[arg-type]
    assert open_run("other", validator=lambda candidate: 0.25).validate(None) == 0.25  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("check_every", 0), ("checkpoint_seconds", -1.0)])
def test_settings_out_of_range_are_refused(open_run: OpenRun, name: str, value: float) -> None:
    with pytest.raises(BadInput, match=name):
        open_run(**{name: value})


def test_a_run_whose_request_is_refused_leaves_nothing(open_run: OpenRun, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such setting"), open_run("refused"):
        raise BadInput("no such setting")
    assert not (tmp_path / "refused").exists()
    with pytest.raises(files.InUse), open_run("waiting"):
        raise files.InUse("another process is at it")  # which ends some day
    assert (tmp_path / "waiting").exists()


def test_a_run_that_was_begun_before_keeps_its_work_when_it_is_refused(open_run: OpenRun) -> None:
    with pytest.raises(KeyboardInterrupt), open_run() as run:
        count_up(run, die_at=4)
    with pytest.raises(BadInput, match="no such setting"), open_run():
        raise BadInput("no such setting")
    assert count_up(open_run())[1] == [4, 5]


def test_a_run_keeps_the_work_that_it_did_before_it_was_refused(open_run: OpenRun) -> None:
    with pytest.raises(BadInput, match="truncated"), open_run("phase") as run:
        for step in run.loop("count", 6, run.state(last=torch.zeros(()))):
            if step == 4:
                raise BadInput("an image is truncated")
    assert list(open_run("phase").loop("count", 6, run.state(last=torch.zeros(())))) == [4, 5]
    with pytest.raises(BadInput, match="refused"), open_run("jobs") as run:
        for job in run.jobs("work", [1, 2]):
            if job.index == 1:
                raise BadInput("refused")
            job.save(x=torch.zeros(1))
    assert next(iter(open_run("jobs").jobs("work", [1, 2]))).index == 1
    with pytest.raises(BadInput, match="refused"), open_run("store") as run:
        for shard in run.store("labels", 2, {"x": ("float32", (1,))}).missing():
            if shard.index == 1:
                raise BadInput("refused")
            shard.write(x=torch.zeros(1))
    assert next(open_run("store").store("labels", 2, {"x": ("float32", (1,))}).missing()).index == 1


@pytest.mark.parametrize("when", ["before", "during"])
def test_files_of_others_survive_a_run_that_is_refused_in_their_folder(
    open_run: OpenRun, tmp_path: Path, when: str
) -> None:
    thesis = tmp_path / "mine" / "thesis.txt"
    if when == "before":
        files.write_text(thesis, "years of work")
    with pytest.raises(BadInput, match="no such setting"), open_run("mine"):
        files.write_text(thesis, "years of work")
        raise BadInput("no such setting")
    assert thesis.read_text() == "years of work"


def test_every_structure_of_a_compiled_function_gets_a_graph(
    open_run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its usual limit of eight the compiler would leave functions uncompiled, with a line in its log."""
    limits: list[int] = []

    def recording(function: Callable[..., object], *, fullgraph: bool, dynamic: bool) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            limits.append(torch._dynamo.config.recompile_limit)
            return function(*arguments)

        return call

    import torch._dynamo

    usual = torch._dynamo.config.recompile_limit
    monkeypatch.setattr(torch, "compile", recording)
    assert open_run(compile=True).compiled(lambda x: x + 1)(1) == 2
    assert limits[0] >= 100 > usual == torch._dynamo.config.recompile_limit
