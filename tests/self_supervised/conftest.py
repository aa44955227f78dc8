from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from condense.data import Split
from condense.run import Run
from condense.self_supervised import BarlowTwins


@pytest.fixture
def tiny() -> BarlowTwins:
    return BarlowTwins(network="convnet-d1:norm=batch,width=4", epochs=3, batch=8, projector=6, warmup=1)


@pytest.fixture
def split() -> Split:
    """20 colour images of 8x8 pixels in two classes."""
    images = torch.randint(0, 256, (20, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Split.from_arrays(images, torch.arange(20) % 2, ("a", "b"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run(tmp_path / "run", seed=0, cache_dir=tmp_path / "cache") as opened:
        yield opened
