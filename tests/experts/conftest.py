"""Tiny training data and runs on a cache of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from expert_cases import RECIPES

from condense import preprocessing
from condense.data import Split
from condense.experts import ExpertRecipe, Experts, experts
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


@pytest.fixture
def ask(train: Split, space: Preprocessing, open_run: Callable[..., Run]) -> Callable[..., Experts]:
    """Asks for two experts of three epochs, unless said otherwise."""

    def experts_of(recipe: str | ExpertRecipe = "mtt", cache: str = "cache", **options: Any) -> Experts:
        chosen = RECIPES[recipe] if isinstance(recipe, str) else recipe
        wanted = {"count": 2, "epochs": 3, **options}
        run = wanted.pop("run", None) or open_run(cache)
        return experts(train, space, chosen, run=run, **wanted)

    return experts_of


@pytest.fixture
def no_stray_output(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing goes to stdout, where results belong."""
    yield
    assert capsys.readouterr().out == ""
