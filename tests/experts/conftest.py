"""Tiny training data and runs on a cache of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from condense import preprocessing
from condense.data import Split
from condense.preprocessing import Preprocessing
from condense.run import Run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Bits depend on the number of threads, and the networks here are too small for two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def train() -> Split:
    """20 images of noise in 3 classes: two batches of 8 and one of 4."""
    images = torch.randint(256, (20, 2, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Split.from_arrays(images, torch.arange(20) % 3, ("a", "b", "c"))


@pytest.fixture
def space(train: Split) -> Preprocessing:
    return preprocessing.fit("normalise", train)


@pytest.fixture
def open_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """A run in a folder of its own; runs of equal `cache` share what they build."""
    opened: list[Run] = []

    def start(cache: str = "cache", **options: Any) -> Run:
        folder = tmp_path / f"run-{len(opened)}"
        opened.append(Run(folder, cache_dir=tmp_path / cache, **{"seed": 0, **options}))
        return opened[-1]

    yield start
    for run in opened:
        run.close()
