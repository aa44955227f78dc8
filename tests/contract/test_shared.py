"""Several processes that are given the same words share one distillation, and end with the same set."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from contract_cases import IPC, Case, content, distil, label_stores, working_in

from condense import api

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["condense.api"])
WORKERS = 2


def work(case: Case, folder: Path) -> None:
    place = api.Place(cache_dir=folder / "cache", checkpoint_seconds=0.0, shared=True)
    with working_in(folder):
        api.distill(case.reference, "tiny", ipc=IPC, preset="cpu", overrides=case.overrides(), place=place)


@pytest.mark.parametrize("case", label_stores(), ids=str)
def test_processes_share_a_distillation(case: Case, fast_folder: Path, expected: dict[str, bytes]) -> None:
    processes = [CONTEXT.Process(target=work, args=(case, fast_folder)) for _ in range(WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * WORKERS
    (found,) = (fast_folder / "runs" / "sets").glob("*/set.json")
    assert content(found.parent) == expected
    assert list((fast_folder / "runs" / "work").iterdir())  # somebody may still read it
    assert distil(case, fast_folder) == found.parent  # asked once more, alone
    assert not list((fast_folder / "runs" / "work").iterdir())
