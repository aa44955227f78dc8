"""A transfer that is really killed, in pre-training, in fine-tuning or between two records, and continued."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import transfer_cases

from condense import distilled, files
from condense.evaluate.transfer import records

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["condense.api"])
KILLS = 4
PATIENCE_SECONDS = 150.0
MADE_BY = {"method": "random_teacher", "title": "Random", "kind": "synthetic", "config": {}, "seed": 0}


def prepared(folder: Path) -> Path:
    """A folder with a saved set and a protocol."""
    judged, source = transfer_cases.represented(), transfer_cases.source()
    origin = {"dataset": {"name": source.name, "fingerprint": source.fingerprint}, "budget": {"total": 6}}
    files.write_json(
        folder / "transfer-tiny-1.json", transfer_cases.protocol(seeds=1).model_dump(mode="json", by_alias=True)
    )
    distilled.save(dataclasses.replace(judged, provenance=MADE_BY | origin), folder / "set")
    return folder


def accuracies(folder: Path) -> dict[str, dict[str, Any]]:
    """Seeds and accuracies of every cell of every record."""
    found = records.read_all(folder / "results")
    return {
        record.start: {name: (cell.status, cell.seeds, cell.accuracy) for name, cell in record.cells.items()}
        for record in found
    }


def start(folder: Path) -> multiprocessing.process.BaseProcess:
    process = CONTEXT.Process(target=transfer_cases.judge_in, args=(folder,))
    process.start()
    return process


def finish(folder: Path) -> None:
    """A process that nobody disturbs."""
    process = start(folder)
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 0


def files_in(folder: Path) -> set[tuple[Path, int]]:
    """Every file with the time of its last change."""
    found = set()
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found.add((path, path.stat().st_mtime_ns))
    return found


def begun_in(folder: Path) -> list[Path]:
    """Checkpoints of fine-tunings."""
    return list(folder.rglob("fine-tunings/*/phases/*"))


def test_a_transfer_that_is_killed_and_continued_gives_the_same_numbers(tmp_path: Path) -> None:
    finish(prepared(tmp_path / "unbroken"))
    folder, moments = prepared(tmp_path / "killed"), random.Random(0)
    killed = inside = 0
    for _ in range(KILLS):
        before, more = files_in(folder), moments.randrange(1, 30)
        process = start(folder)
        changed: set[tuple[Path, int]] = set()
        while process.is_alive() and len(changed) < more:
            changed |= files_in(folder) - before
            time.sleep(0.001)
        if process.is_alive():  # in the middle of its work: it has written something
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        inside += bool(begun_in(folder))
    assert killed == KILLS
    assert inside  # a fine-tuning was left in its middle at least once
    assert accuracies(folder) != accuracies(tmp_path / "unbroken")  # there is something left to do
    finish(folder)
    expected = accuracies(tmp_path / "unbroken")
    assert set(expected) == {"scratch", "self-supervised", "set"}
    assert all(len(cells) == 8 for cells in expected.values())  # two targets, two uses, two shares
    assert accuracies(folder) == expected
    assert begun_in(folder) == []
