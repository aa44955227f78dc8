"""Conformance: a loop that ends itself, and keeps the best it has seen."""

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

ABOUT = Method(title="early_stop", paper="conformance", url="", family="conformance", kind="synthetic")


@dataclass(frozen=True)
class Config:
    steps: int = 30
    patience: int = 2  # steps without a new best after which the loop ends


PRESETS = {"cpu": Preset(Config(), "as small as it gets")}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    space = preprocessing.fit("identity", train)
    images, labels = initial_images(train, budget, space, run.rng("initial"), "noise")
    state = run.state(images=images, best=None, least=float("inf"), waited=0)
    for step in run.loop("match", config.steps, state):
        state.images = state.images + torch.randn(images.shape, generator=run.rng("noise", step))
        loss = float(state.images.square().mean())
        run.log(loss=loss)
        if loss < state.least or state.best is None:
            state.best, state.least, state.waited = state.images.clone(), loss, 0
        else:
            state.waited += 1
        if state.waited == config.patience:
            run.stop(f"no better for {config.patience} steps")
    assert state.best is not None
    return DistilledSet.synthetic(state.best, labels, train, space)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    return Cost(operations=1e3, memory_bytes=1e3)
