"""What a recovery step has to reach."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


def test_a_side_is_held_to_speed_and_memory(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    verdict = importlib.import_module("recover").verdict
    loop = {"cpu_seconds": 1.4, "seconds": [1.8, 1.9, 2.5], "peak_mebibytes": 700}
    row = {"cpu_seconds": 1.0, "seconds": [0.9, 1.0, 1.1], "peak_mebibytes": 700}
    assert verdict(row, loop, "cpu") == {"at_least_1.4_times": True, "memory_no_higher": True}
    assert verdict({**row, "cpu_seconds": 1.0029}, loop, "cpu")["at_least_1.4_times"] is False
    assert verdict({**row, "peak_mebibytes": 701}, loop, "cuda") == {
        "at_least_2_times": False,
        "memory_no_higher": False,
    }
