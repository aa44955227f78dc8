"""Conformance: images and the step size of their training are learned together."""

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

ABOUT = Method(title="learned_step_size", paper="conformance", url="", family="conformance", kind="synthetic")


@dataclass(frozen=True)
class Config:
    steps: int = 3  # steps of each phase


PRESETS = {"cpu": Preset(Config(), "as small as it gets")}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    space = preprocessing.fit("identity", train)
    images, labels = initial_images(train, budget, space, run.rng("initial"), "noise")
    images.requires_grad_()
    step_size = torch.tensor(0.1, requires_grad=True)
    optimizer = torch.optim.Adam([images, step_size], lr=0.01)
    for step in run.loop("unroll", config.steps, run.state(images=images, step_size=step_size, optimizer=optimizer)):
        weight = torch.randn(images[0].numel(), generator=run.rng("student", step)).requires_grad_()
        real = space.forward(train.take(torch.randint(len(train), (4,), generator=run.rng("real", step))))
        loss = (images.flatten(1) @ weight).square().mean()
        (slope,) = torch.autograd.grad(loss, weight, create_graph=True)
        student = weight - step_size * slope
        optimizer.zero_grad()
        (real.flatten(1) @ student).square().mean().backward(inputs=[images, step_size])
        optimizer.step()
        run.log(step_size=step_size)
    return DistilledSet.synthetic(images, labels, train, space, step_size=step_size.item())


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    return Cost(operations=1e3, memory_bytes=1e3)
