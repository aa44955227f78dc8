"""Transfer records made up of given accuracies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from condense.evaluate.parts import Cell
from condense.evaluate.transfer.records import TransferRecord

TEACHER = {"teacher": "barlow-twins", "teacher_epochs": 20}
TINY_DIGEST = "d" * 64


def made(
    method: str = "krr_st",
    accuracy: Mapping[str, Sequence[float] | Cell] | None = None,
    *,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    preset: str | None = "cpu",
    fingerprint: str = "t" * 8,
    labels: str = "representation",
) -> TransferRecord:
    """A record of one target and network; `accuracy` gives the seeds 0, 1, ... of each setting."""
    reference = method in ("scratch", "self-supervised")
    cells = {}
    for setting, found in (accuracy or {"probe@1": [0.5, 0.6]}).items():
        cell = found if isinstance(found, Cell) else Cell(status="ok", seeds=range(len(found)), accuracy=found)
        cells[f"near/mlp/{setting}"] = cell
    plain = {
        "schema": 1,
        "judge": 1,
        "protocol": {
            "name": "transfer-quick", "version": 1, "digest": TINY_DIGEST, "track": "transfer", "tier": "quick: small",
        },
        "source": {"name": "digits[0-4]", "fingerprint": "s" * 8},
        "start": method if reference else "set",
        "budget": None if reference else {"ipc": 10},
        "set": None if reference else {
            "id": hashlib.sha256(repr((method, seed, config, preset)).encode()).hexdigest(), "method": method,
            "title": method.upper(), "kind": "synthetic", "preset": preset, "config": dict(config or TEACHER),
            "seed": seed, "trained_on": "train", "preprocessing": "normalise", "labels": labels, "count": 50,
            "bytes": {"images": 1, "labels": 1, "extras": 0, "preprocessing": 0},
        },
        "targets": {"near": fingerprint},
        "cells": {name: cell.model_dump() for name, cell in cells.items()},
        "command": "condense transfer",
        "code": {"version": "0.1.0"},
        "volatile": {
            "date": "2026-01-01T00:00:00+00:00", "host": {},
            "cells": {name: {"seconds": [1.0] * len(cell.seeds)} for name, cell in cells.items() if cell.seeds},
        },
    }  # fmt: skip
    return TransferRecord.model_validate(plain)


SCRATCH = made("scratch", {"probe@1": [0.50, 0.60], "fine-tune@1": [0.3, 0.3]})
RANDOM = [
    made("random_teacher", {"probe@1": found}, seed=seed) for seed, found in enumerate(([0.55, 0.65], [0.5, 0.7]))
]
KRR = [made("krr_st", {"probe@1": found}, seed=seed) for seed, found in enumerate(([0.60, 0.71], [0.56, 0.75]))]
