"""A source, two targets and a protocol so small that a start is made and used in a few hundredths of a second."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from condense import api
from condense.data import Dataset, Split
from condense.distilled import DistilledSet, Representations
from condense.evaluate.transfer.protocol import TransferProtocol
from condense.preprocessing import normalise

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


def source() -> Dataset:
    return dataset("source", ("a", "b", "c"), 1)


def targets() -> list[Dataset]:
    return [dataset("near", ("d", "e", "f", "g"), 5), dataset("far", ("h", "i"), 9)]


def represented() -> DistilledSet:
    """Six synthetic images of the source with five numbers each."""
    draws = torch.Generator().manual_seed(3)
    images = torch.randn(6, 1, 8, 8, generator=draws)
    vectors = images.flatten(1) @ torch.randn(64, 5, generator=draws) / 8
    return DistilledSet.synthetic(images, Representations(vectors), source().train, normalise((0.4,), (0.2,)))


def protocol(**changes: Any) -> TransferProtocol:
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
            "soft": {"recipe": recipe(loss={"kind": "mse"}), "max_updates": 12},  # as every protocol has it
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


class TinyPlace(api.Place):
    """Where `api.transfer` finds these data."""

    def dataset(self, name: str) -> Dataset:
        return next(found for found in (source(), *targets()) if found.name == name.partition("@")[0])


def judge_in(folder: Path) -> None:
    """Judges the set in `folder/set` by the protocol beside it, saving after every step; a process runs this."""
    os.chdir(folder)
    torch.set_num_threads(1)
    place = TinyPlace(cache_dir=folder / "cache", checkpoint_seconds=0.0)
    protocol_file = str(folder / "transfer-tiny-1.json")
    api.transfer([folder / "set"], ["near", "far"], protocol_file, results=folder / "results", command="-", place=place)
