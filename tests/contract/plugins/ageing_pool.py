"""Conformance: a pool of networks that age, are trained a little, and are born again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from condense import preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.matching import initial_images
from condense.method import Cost, Method, Preset
from condense.run import Run

ABOUT = Method(title="ageing_pool", paper="conformance", url="", family="conformance", kind="synthetic")


@dataclass(frozen=True)
class Config:
    steps: int = 6
    pool: int = 2
    oldest: int = 2  # steps after which a network is born again


PRESETS = {"cpu": Preset(Config(), "as small as it gets")}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    space = preprocessing.fit("identity", train)
    images, labels = initial_images(train, budget, space, run.rng("initial"), "noise")
    pool = [nn.Linear(images[0].numel(), 2) for _ in range(config.pool)]
    for index, network in enumerate(pool):
        give_birth(network, run.rng("birth", index))
    optimizers = [torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9) for network in pool]
    state = run.state(images=images, pool=pool, optimizers=optimizers, ages=[0] * config.pool)
    for step in run.loop("match", config.steps, state):
        index = int(torch.randint(config.pool, (), generator=run.rng("member", step)))
        network, optimizer = pool[index], optimizers[index]
        optimizer.zero_grad()
        network(images.flatten(1)).square().mean().backward()
        optimizer.step()
        with torch.no_grad():
            images += 0.1 * network.weight.sum(dim=0).reshape(images.shape[1:])
        state.ages[index] += 1
        if state.ages[index] == config.oldest:
            give_birth(network, run.rng("rebirth", step))
            optimizer.state.clear()
            state.ages[index] = 0
    return DistilledSet.synthetic(images, labels, train, space)


def give_birth(network: nn.Linear, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    return Cost(operations=1e3, memory_bytes=1e3)
