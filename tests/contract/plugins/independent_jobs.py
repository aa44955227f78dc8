"""Conformance: jobs that know nothing of each other, each with a loop of its own."""

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

ABOUT = Method(title="independent_jobs", paper="conformance", url="", family="conformance", kind="synthetic")


@dataclass(frozen=True)
class Config:
    steps: int = 2  # of each job


PRESETS = {"cpu": Preset(Config(), "as small as it gets")}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    space = preprocessing.fit("identity", train)
    images, labels = initial_images(train, budget, space, run.rng("initial"), "noise")
    jobs = run.jobs("recover", list(range(train.n_classes)))
    for job in jobs:
        part = images[labels == job.item].clone()
        for step in job.run.loop("steps", config.steps, job.run.state(part=part)):
            part += torch.randn(part.shape, generator=job.rng("noise", step))
        job.save(part=part)
    parts = [result["part"] for result in jobs.results()]
    return DistilledSet.synthetic(torch.cat(parts), labels.sort(stable=True).values, train, space)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    return Cost(operations=1e3, memory_bytes=1e3)
