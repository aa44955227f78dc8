"""Synthetic records: a factory that makes a valid record from the few facts a test is about."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from condense.evaluate import records
from condense.evaluate.parts import Cell
from condense.evaluate.records import Record

PANEL = ("convnet-d3", "mlp", "lenet", "alexnet", "vgg11", "resnet18", "vit")


def make_record(
    method: str = "random",
    *,
    seed: int = 0,
    seeded: bool = True,
    cells: Mapping[str, Sequence[float] | Cell] | None = None,
    kind: str = "selection",
    budget: Mapping[str, float] | None = None,
    config: Mapping[str, Any] | None = None,
    preset: str | None = "cpu",
    protocol: str = "hard-dsa",
    track: str = "common-hard",
    tier: str = "full",
    dataset: str = "cifar10",
    weights: tuple[int, int, int, int] = (30720, 80, 0, 0),
    judge: int = 1,
    label_recipe: str | None = None,
    **of_the_set: Any,
) -> Record:
    """A record; `cells` gives the accuracies of seeds 0, 1, ... for each network, or a finished cell.

    of_the_set: any other field of the set, such as `changed`.
    """
    found = {}
    for name, value in (cells or {"convnet-d3": [0.4, 0.41]}).items():
        finished = value if isinstance(value, Cell) else Cell(status="ok", seeds=range(len(value)), accuracy=value)
        found[name] = finished
    identity = hashlib.sha256(
        repr((method, seed, budget, config, preset, dataset, *of_the_set.items())).encode()
    ).hexdigest()
    times = {name: {"seconds": [1.5] * len(cell.seeds)} for name, cell in found.items() if cell.seeds}
    return Record.model_validate(
        {
            "schema": 1,
            "judge": judge,
            "protocol": {"name": protocol, "version": 1, "digest": "d" * 64, "track": track, "tier": tier},
            "dataset": {"name": dataset, "fingerprint": "f" * 64},
            "budget": dict(budget or {"ipc": 10}),
            "set": {
                "id": identity, "method": method, "title": method.upper(), "kind": kind, "preset": preset,
                "config": dict(config or {}), "seed": seed, "seeded": seeded, "trained_on": "train",
                "preprocessing": "normalise", "labels": "hard", "count": 100,
                "label_recipe": label_recipe,
                "bytes": dict(zip(("images", "labels", "extras", "preprocessing"), weights, strict=True)),
                **of_the_set,
            },
            "cells": {name: cell.model_dump() for name, cell in found.items()},
            "command": f"condense evaluate runs/sets/{method} --protocol {protocol}",
            "code": {"version": "0.1.0", "commit": None},
            "volatile": {
                "date": "2026-01-01T00:00:00+00:00", "host": {"machine": "x86_64"},
                "distill": {"seconds": 12.5, "peak_bytes": 300_000_000}, "cells": times,
            },
        }
    )  # fmt: skip


@pytest.fixture
def record() -> Callable[..., Record]:
    """The factory `make_record`."""
    return make_record


@pytest.fixture
def results(tmp_path: Path) -> Callable[[Sequence[Record]], Path]:
    """Writes records into a results folder and returns it."""

    def write(made: Sequence[Record], name: str = "results") -> Path:
        for one in made:
            records.merge(tmp_path / name, one)
        return tmp_path / name

    return write


@pytest.fixture
def panel() -> tuple[str, ...]:
    return PANEL
