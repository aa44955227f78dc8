"""Conformance: labels for every epoch in a streamed store."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from condense import preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet, ReplayedLabels
from condense.matching import initial_images
from condense.method import Cost, Method, Preset
from condense.run import Run

ABOUT = Method(title="streamed_labels", paper="conformance", url="", family="conformance", kind="synthetic")


@dataclass(frozen=True)
class Config:
    epochs: int = 3  # shards of labels


PRESETS = {"cpu": Preset(Config(), "as small as it gets")}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    space = preprocessing.fit("identity", train)
    images, _ = initial_images(train, budget, space, run.rng("initial"), "noise")
    count = len(images)
    schema = {
        "indices": ("int64", (count,)),
        "target": ("float16", (count, train.n_classes)),
        "flip": ("bool", (count,)),
    }
    store = run.store("labels", config.epochs, schema)
    for shard in store.missing():
        order = torch.randperm(count, generator=shard.rng("order"))
        target = torch.randn(count, train.n_classes, generator=shard.rng("target")).half()
        shard.write(indices=order, target=target, flip=torch.zeros(count, dtype=torch.bool))
    return DistilledSet.synthetic(images, ReplayedLabels(store, batch=2), train, space)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    return Cost(operations=1e3, memory_bytes=1e3)
