"""Real processes, really killed at random moments, continued until they finish: the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from contract_cases import Case, cases, content, distil, one_of_each_family

# A server that imports everything once and forks a process in milliseconds, from a state without threads.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["condense.api"])
KILLS = 3
PATIENCE_SECONDS = 60.0


def start(case: Case, folder: Path) -> multiprocessing.process.BaseProcess:
    process = CONTEXT.Process(target=distil, args=(case, folder))
    process.start()
    return process


def unbroken_seconds(case: Case, folder: Path) -> float:
    """Time of one undisturbed process, the fork included."""
    begin = time.monotonic()
    process = start(case, folder)
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 0
    shutil.rmtree(folder)
    return time.monotonic() - begin


def distil_under_fire(case: Case, folder: Path, moments: random.Random, kills: int) -> None:
    """Kills at seeded moments, spread over the time that a process takes, then lets one process finish."""
    seconds = unbroken_seconds(case, folder)
    for _ in range(kills):
        process = start(case, folder)
        process.join(moments.uniform(0.0, seconds))
        if process.exitcode is None:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    process = start(case, folder)
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 0


def finished(folder: Path) -> Path:
    (found,) = (folder / "runs" / "sets").glob("*/set.json")
    return found.parent


@pytest.mark.parametrize("case", one_of_each_family(), ids=str)
def test_a_killed_distillation_gives_the_same_bytes(case: Case, fast_folder: Path, expected: dict[str, bytes]) -> None:
    distil_under_fire(case, fast_folder / "run", random.Random(f"{case} in test"), KILLS)
    assert content(finished(fast_folder / "run")) == expected


@pytest.mark.soak
@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_distillation_killed_many_times_gives_the_same_bytes(
    case: Case, fast_folder: Path, expected: dict[str, bytes]
) -> None:
    for round_number in range(5):
        folder = fast_folder / str(round_number)
        distil_under_fire(case, folder, random.Random(f"{case} in soak, round {round_number}"), 4 * KILLS)
        assert content(finished(folder)) == expected
