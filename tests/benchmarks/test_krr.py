"""What `krr.py` says of its measurements: on both sides of every limit that it holds them to."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("krr")


def rows(better: bool, threads: int) -> list[dict[str, Any]]:
    """Measurements that lie a little on one side of the limits: 1.2, 0.5, 1.4, 3, 3 and 0.9998."""
    off = 0.99 if better else 1.01
    found = [
        {"part": "algebra", "side": "ours", "times_first_side": 1.2 * off},
        {"part": "memory", "side": "plain", "peak_mebibytes": 1000},
        {"part": "memory", "side": "low-memory", "peak_mebibytes": 500 * off, "times_first_side": 1.4 * off},
        {"part": "step", "side": "cached", "times_first_side": off / 3},
        {"part": "step", "side": "fresh-bf16", "times_first_side": off / 3, "cosine": 0.99985 if better else 0.99975},
    ]
    return [{"threads": threads, **row} for row in found]


def test_every_claim_holds_on_one_side_of_its_limit_only(script: ModuleType) -> None:
    found = script.verdicts(rows(True, 2) + rows(False, 1))
    claims = [line["claim"] for line in found if line["threads"] == 2]
    assert len(claims) == 6
    assert [line["claim"] for line in found if line["threads"] == 1] == claims
    assert [line["holds"] for line in found] == [True] * 6 + [False] * 6


def test_parts_that_were_not_measured_are_not_spoken_of(script: ModuleType) -> None:
    assert [line["claim"] for line in script.verdicts(rows(True, 2)[:1])] == ["times the floor of the products"]
