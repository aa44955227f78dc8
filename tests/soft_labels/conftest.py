"""A split of nine images, a committee of two tiny networks, and runs to label with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from label_cases import CLASSES, COUNT, SHAPE, committee

from condense.data import Split
from condense.distilled.labels import Committee, Regions
from condense.distilled.views import PlainView
from condense.preprocessing import Preprocessing, normalise
from condense.run import Run


@pytest.fixture
def space() -> Preprocessing:
    return normalise((0.5,) * 3, (0.25,) * 3)  # that of the committee


@pytest.fixture
def view(space: Preprocessing) -> PlainView:
    pixels = torch.randint(0, 256, (COUNT, *SHAPE), generator=torch.Generator().manual_seed(8), dtype=torch.uint8)
    return PlainView(pixels, space)


@pytest.fixture
def train() -> Split:
    pixels = torch.randint(0, 256, (30, *SHAPE), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
    return Split.from_arrays(pixels, torch.arange(30) % 3, CLASSES)


@pytest.fixture
def wise() -> Callable[..., Committee]:
    return lambda **rest: committee(torch.Generator().manual_seed(5), **rest)


@pytest.fixture
def rule() -> Callable[..., Regions]:
    fields: dict[str, Any] = {"count": COUNT, "shape": SHAPE, "batch": 4, "seed": 11, "mix": {"kind": "cutmix"}}
    return lambda **changes: Regions(**(fields | changes))


@pytest.fixture
def open_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """open_run(name) -> a run in a folder of that name; the same name continues it."""
    with ExitStack() as stack:

        def start(name: str = "run") -> Run:
            run = Run(tmp_path / name, seed=0, cache_dir=tmp_path / "cache")
            stack.callback(run.close)
            return run

        yield start
