"""What a recovery step has to reach, and that both sides of the measurement take it."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("recover")


def test_a_side_is_held_to_speed_and_memory(script: ModuleType) -> None:
    loop = {"cpu_seconds": 1.4, "seconds": [1.8, 1.9, 2.5], "peak_mebibytes": 700}
    tuned = {**loop, "peak_mebibytes": 690}
    row = {"cpu_seconds": 1.0, "seconds": [0.9, 1.0, 1.1], "peak_mebibytes": 700}

    def verdict(device: str, **changes: float) -> list[bool]:
        found = script.verdict({**row, **changes}, loop, tuned, device)
        enough = script.ENOUGH[device]
        assert list(found) == [f"at_least_{enough:g}_times", "memory_no_higher", "memory_no_higher_than_tuned"]
        return list(found.values())

    assert verdict("cpu") == [True, True, False]
    assert verdict("cpu", cpu_seconds=1.0029) == [False, True, False]
    assert verdict("cuda", peak_mebibytes=701) == [False, False, False]
    assert verdict("cpu", peak_mebibytes=690) == [True, True, True]


@pytest.mark.parametrize("size", [8, 40])  # with a roll alone, and with crops as well
def test_every_side_is_measured_and_compared(
    size: int, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small network, in this process, and not compiled, which would take a minute."""
    monkeypatch.setattr(script, "NETWORK", "convnet-d1:width=4,norm=batch")
    monkeypatch.setattr(script, "CLASSES", 3)
    monkeypatch.setattr(script, "SIDES", ("loop", "tuned", "eager"))
    monkeypatch.setattr(script.allocator, "keep_memory", lambda: True)  # would last as long as this process

    def fresh(words: list[str], threads: int) -> str:
        said = io.StringIO()
        with monkeypatch.context() as patch, contextlib.redirect_stdout(said):
            patch.setattr(sys, "argv", words)
            script.main()
        return said.getvalue()

    monkeypatch.setattr(script, "fresh", fresh)
    out = tmp_path / "found.json"
    words = ["--threads=1", f"--sizes={size}", "--batch=4", "--steps=2", "--repeats=2", f"--out={out}"]
    monkeypatch.setattr(sys, "argv", ["recover.py", *words])
    script.main()
    rows = json.loads(out.read_text())["rows"]
    assert [row["side"] for row in rows] == ["loop", "tuned", "eager"]
    assert all(0 < row["seconds"][0] <= row["seconds"][2] and row["gflop"] >= 0 for row in rows)
    assert rows[0]["times_loop"] == rows[0]["times_loop_cpu"] == 1.0
    assert {"at_least_1.4_times", "memory_no_higher"} <= rows[2].keys()
