"""A small training split and sets of every kind made from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from label_cases import CLASSES, COUNT, SHAPE, committee, region_labels

from condense import networks, preprocessing
from condense.data import Dataset, Split
from condense.distilled import (
    DistilledSet,
    HardLabels,
    Labels,
    ReplayedLabels,
    Representations,
    SoftLabels,
    TeacherLabels,
)
from condense.distilled.foreign import Request
from condense.distilled.labels import Codec, CommitteeLabels, QuantisedLabels

PROVENANCE = {
    "method": "dm",
    "title": "DM",
    "kind": "synthetic",
    "preset": "cpu",
    "config": {"steps": 20, "lr_images": 1.0},
    "seed": 0,
    "budget": {"ipc": 3},
    "dataset": {"name": "toys", "fingerprint": "0" * 64},
    "trained_on": "train",
    "engine": {"dtype": "float32", "threads": 1},
    "stops": {},
    "volatile": {"seconds": 12.5, "date": "2026-01-01", "host": {}},
}


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.fixture
def train(rng: torch.Generator) -> Split:
    images = torch.randint(0, 256, (60, *SHAPE), generator=rng, dtype=torch.uint8)
    return Split.from_arrays(images, torch.arange(60) % 3, CLASSES)


@pytest.fixture
def space(train: Split) -> preprocessing.Preprocessing:
    return preprocessing.normalise(train.mean, train.std)


@pytest.fixture
def images(rng: torch.Generator) -> torch.Tensor:
    return torch.randn(COUNT, *SHAPE, generator=rng)


@pytest.fixture
def make(train: Split, space: preprocessing.Preprocessing, images: torch.Tensor) -> Callable[..., DistilledSet]:
    def build(labels: Labels | None = None, stored: torch.Tensor = images, **rest: object) -> DistilledSet:
        given = HardLabels(torch.arange(COUNT) // 3) if labels is None else labels
        return DistilledSet.synthetic(stored, given, train, space, **{"provenance": PROVENANCE, **rest})

    return build


LABEL_KINDS = (
    "hard", "soft-float16", "soft-float32", "logits", "representation", "replayed", "replayed-mixed", "teacher",
    "replayed-classes", "teacher-classes", "quantised-full", "quantised-smoothed", "quantised-logits", "regions",
    "regions-classes", "committee", "committee-classes",
)  # fmt: skip


@pytest.fixture(params=LABEL_KINDS)
def labels(request: pytest.FixtureRequest) -> Labels:
    return labels_of(request.param)


def labels_of(name: str) -> Labels:
    rng = torch.Generator().manual_seed(5)
    rows = torch.randn(COUNT, len(CLASSES), generator=rng)
    if name.endswith("-classes"):
        return dataclasses.replace(labels_of(name.removesuffix("-classes")), classes=torch.arange(COUNT) // 3)  # type: ignore[call-arg, type-var]
    if name.startswith("quantised"):
        return QuantisedLabels.of(rows, Codec(name.removeprefix("quantised-"), k=2), "logits", temperature=2.0)  # type: ignore[arg-type]
    if name == "regions":
        return region_labels(rng)
    if name == "committee":
        return CommitteeLabels(committee(rng))
    if name == "hard":
        return HardLabels(torch.arange(COUNT) // 3)
    if name.startswith("soft"):
        return SoftLabels(rows.softmax(1).to(torch.float16 if name.endswith("16") else torch.float32), temperature=4.0)
    if name == "logits":
        return SoftLabels(rows.to(torch.float64), "logits", temperature=2.0)
    if name == "representation":
        return Representations(torch.randn(COUNT, 7, generator=rng))
    if name.startswith("replayed"):
        return ReplayedLabels([epoch(rng, mixed=name.endswith("mixed")) for _ in range(3)], batch=4, temperature=20.0)
    network = networks.build("convnet-d1:width=4", SHAPE, len(CLASSES), rng)
    return TeacherLabels("convnet-d1:width=4", network.state_dict(), SHAPE, len(CLASSES), temperature=3.0)


def epoch(rng: torch.Generator, mixed: bool) -> dict[str, torch.Tensor]:
    """Ten samples in steps of four, four and two."""
    fields = {
        "indices": torch.randint(0, COUNT, (10,), generator=rng),
        "target": torch.randn(10, len(CLASSES), generator=rng).half(),
        "crop": torch.rand(10, 4, generator=rng),
        "flip": torch.rand(10, generator=rng) < 0.5,
        "norm_group": torch.randint(0, 2, (10,), generator=rng),
    }
    if mixed:
        fields["partner"] = torch.tensor([3, 2, 1, 0, 3, 2, 1, 0, 1, 0])
        fields["mix_weight"] = torch.rand(3, generator=rng)
        fields["mix_box"] = torch.tensor([[0, 0, 3, 4], [1, 1, 2, 2], [0, 0, 0, 0]])
    return fields


@pytest.fixture
def replayed() -> Labels:
    return labels_of("replayed-mixed")


@pytest.fixture
def teacher() -> Labels:
    return labels_of("teacher")


@pytest.fixture
def toys(train: Split) -> Dataset:
    return Dataset(
        "toys", train, train, train.classes, train.shape, "0" * 64, True, train.mean, train.std, "cc0-1.0", ""
    )


@pytest.fixture
def ask(toys: Dataset, tmp_path: Path) -> Callable[..., Request]:
    def build(source: Path, **rest: Any) -> Request:
        return Request(source, toys, cache_dir=tmp_path / "cache", **rest)

    return build


@pytest.fixture
def write_pt() -> Callable[..., Path]:
    def write(folder: Path, **tensors: object) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in tensors.items():
            torch.save(value, folder / f"{name}.pt")
        return folder

    return write
