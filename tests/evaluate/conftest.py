"""A data set and a protocol so small that a network is judged in a few hundredths of a second."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from condense.data import Dataset, Split
from condense.distilled import DistilledSet, SoftLabels
from condense.evaluate.protocol import Protocol
from condense.preprocessing import normalise

CLASSES = ("left", "right", "top")


def patterns(labels: torch.Tensor) -> torch.Tensor:
    """(N, 1, 4, 4): the half of the image that the class is named after is 1, the other -1."""
    images = -torch.ones(3, 1, 4, 4)
    images[0, :, :, :2] = 1
    images[1, :, :, 2:] = 1
    images[2, :, :2] = 1
    return images[labels]


def split_of(per_class: int, seed: int) -> Split:
    """With so much noise that a network is neither at chance level nor perfect."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(3).repeat_interleave(per_class)
    noise = torch.randn(len(labels), 1, 4, 4, generator=generator)
    pixels = (128 + 40 * patterns(labels) + 70 * noise).clamp(0, 255).to(torch.uint8)
    return Split.from_arrays(pixels, labels, CLASSES, flips=False, mean=(0.5,), std=(0.3,))


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    train, test = split_of(12, seed=1), split_of(30, seed=2)
    return Dataset(
        name="halves",
        train=train,
        test=test,
        classes=CLASSES,
        shape=(1, 4, 4),
        fingerprint="f" * 64,
        flips=False,
        mean=(0.5,),
        std=(0.3,),
        licence="none",
        homepage="none",
    )


@pytest.fixture(scope="session")
def synthetic(dataset) -> DistilledSet:
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(3).repeat_interleave(4)
    images = patterns(labels) + torch.randn(12, 1, 4, 4, generator=generator)
    return DistilledSet.synthetic(images, labels, dataset.train, normalise((0.5,), (0.3,)))


@pytest.fixture(scope="session")
def softened(synthetic) -> DistilledSet:
    """The same images; soft labels whose largest value is at the same class."""
    hard = synthetic.labels.hard()
    values = torch.full((len(hard), 3), 0.2).scatter(1, hard[:, None], 0.6)
    return dataclasses.replace(synthetic, labels=SoftLabels(values))


RECIPE = {
    "epochs": 12,
    "batch": 5,
    "lr": 0.05,
    "schedule": {"kind": "drop-restart", "after": 8, "factor": 0.1},
    "augment": {"kind": "dsa", "ops": ["crop", "flip"]},
}


@pytest.fixture
def make_protocol():
    def make(**changes) -> Protocol:
        plain = {
            "schema": 1,
            "name": "tiny",
            "version": 1,
            "title": "Tiny",
            "track": "common-hard",
            "tier": "tests",
            "recipe": RECIPE,
            "max_updates": 1000,
            "seeds": 2,
            "panel": [{"network": "mlp:width=8"}, {"network": "convnet-d1:width=4"}],
            "needs": {"labels": "hard"},
            "notes": ["for tests"],
        }
        return Protocol.model_validate(plain | changes)

    return make
