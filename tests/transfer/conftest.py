"""A source, two targets and a protocol so small that a start is made and used in a few hundredths of a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from condense.data import Dataset, Split
from condense.distilled import DistilledSet, Representations
from condense.evaluate.transfer.protocol import TransferProtocol
from condense.preprocessing import normalise
from condense.run import Run

NETWORK = "convnet-d1:norm=batch,width=4"


def stripes(names: tuple[str, ...], per_class: int, seed: int) -> Split:
    """Noisy images of 8x8 pixels whose class is the row of a bright stripe."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(names)).repeat_interleave(per_class)
    images = 90 + 40 * torch.randn(len(labels), 1, 8, 8, generator=draws)
    images[torch.arange(len(labels)), 0, 2 * labels] += 60
    return Split.from_arrays(images.clamp(0, 255).to(torch.uint8), labels, names, flips=False)


def dataset(name: str, names: tuple[str, ...], seed: int) -> Dataset:
    train, test = stripes(names, 12, seed), stripes(names, 20, seed + 1)
    return Dataset(
        name, train, test, names, train.shape, train.fingerprint, False, train.mean, train.std, "none", "none"
    )


def recipe(**changes: Any) -> dict[str, Any]:
    return {"epochs": 6, "batch": 8, "lr": 0.05, "schedule": {"kind": "cosine", "per": "step"}, **changes}


@pytest.fixture(scope="session")
def source() -> Dataset:
    return dataset("source", ("a", "b", "c"), 1)


@pytest.fixture(scope="session")
def targets() -> list[Dataset]:
    return [dataset("near", ("d", "e", "f", "g"), 5), dataset("far", ("h", "i"), 9)]


@pytest.fixture(scope="session")
def represented(source: Dataset) -> DistilledSet:
    """Six synthetic images with five numbers each."""
    draws = torch.Generator().manual_seed(3)
    images = torch.randn(6, 1, 8, 8, generator=draws)
    targets = images.flatten(1) @ torch.randn(64, 5, generator=draws) / 8
    return DistilledSet.synthetic(images, Representations(targets), source.train, normalise((0.4,), (0.2,)))


@pytest.fixture
def make_protocol() -> Callable[..., TransferProtocol]:
    def make(**changes: Any) -> TransferProtocol:
        stage = {"recipe": recipe(), "max_updates": 12}
        plain = {
            "schema": 1,
            "name": "transfer-tiny",
            "version": 1,
            "title": "Tiny",
            "track": "transfer",
            "tier": "tests",
            "pretrain": {
                "representation": {"recipe": recipe(loss={"kind": "mse"}), "max_updates": 12},
                "soft": stage,
                "hard": stage,
            },
            "self_supervised": {"epochs": 1, "batch": 12, "projector": 4, "warmup": 0},
            "fine_tune": {"recipe": recipe(augment={"kind": "crop-flip", "padding": 1}), "updates": 12},
            "probe": True,
            "shares": [0.25, 1.0],
            "seeds": 2,
            "panel": [{"network": NETWORK}],
            "notes": ["for tests"],
        }
        return TransferProtocol.model_validate(plain | changes)

    return make


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run(tmp_path / "run", seed=0, cache_dir=tmp_path / "cache") as opened:
        yield opened
