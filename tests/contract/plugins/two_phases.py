"""Conformance: a phase with one optimiser, then another phase with another one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from condense import preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.matching import initial_images
from condense.method import Cost, Method, Preset
from condense.run import Run

ABOUT = Method(title="two_phases", paper="conformance", url="", family="conformance", kind="synthetic")


@dataclass(frozen=True)
class Config:
    steps: int = 3  # steps of each phase


PRESETS = {"cpu": Preset(Config(), "as small as it gets")}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    space = preprocessing.fit("identity", train)
    images, labels = initial_images(train, budget, space, run.rng("initial"), "noise")
    images.requires_grad_()
    for name, optimizer in (
        ("warm", torch.optim.SGD([images], lr=0.1, momentum=0.9)),
        ("match", torch.optim.Adam([images])),
    ):
        for step in run.loop(name, config.steps, run.state(images=images, optimizer=optimizer)):
            rows = torch.randint(len(train), (len(images),), generator=run.rng(name, step))
            optimizer.zero_grad()
            loss = (images - space.forward(train.take(rows))).square().sum()
            loss.backward()
            optimizer.step()
            run.log(loss=loss)
    return DistilledSet.synthetic(images, labels, train, space)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    return Cost(operations=1e3, memory_bytes=1e3)
