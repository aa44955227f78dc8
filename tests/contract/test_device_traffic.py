"""Steps wait for no accelerator: they fetch nothing from it, and what they send goes without waiting."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import CLASSES, IPC, Case, dataset
from device_traffic import AWAY, AwayRun, watched
from torch import Tensor

from condense import methods, networks, preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.matching import RealBatches, gradient_distance
from condense.run.randomness import generator
from condense.sending import send

COUNT, K, SHAPE = 12, len(CLASSES), (1, 8, 8)
Looking = Callable[[Tensor, Tensor], Any]


def rng(name: str, *ids: int) -> torch.Generator:
    return generator(0, name, *ids)


@pytest.fixture
def train() -> Split:
    split = dataset(flips=True, side=8).train
    assert split.std  # measured here with the mean, before the pixels are out of reach
    return split.to(AWAY)


@pytest.mark.parametrize(
    ("look", "what"),
    [
        (lambda here, away: away.sum().item(), "a look at a value"),
        (lambda here, away: bool((away > 0).all()), "a look at a value"),
        (lambda here, away: away[away[:, 0] > 0], "a look at a value"),
        (lambda here, away: away.cpu(), "a fetch"),
        (lambda here, away: here.to(AWAY), "a blocking upload"),
        (lambda here, away: away.copy_(here), "a blocking copy"),
        (lambda here, away: away[torch.tensor([0, 1])], "indices from elsewhere"),
        (lambda here, away: send(here, AWAY), None),
        (lambda here, away: away[send(torch.tensor([0, 1]), AWAY)] * 2.0, None),
        (lambda here, away: here[torch.tensor([0])].sum().item(), None),
    ],
)
def test_the_watch_sees_what_waits(look: Looking, what: str | None) -> None:
    away = torch.zeros(3, 2, device=AWAY)
    with watched() as waits:
        try:
            look(torch.zeros(3, 2), away)
        except (RuntimeError, NotImplementedError):  # there is no data to be fetched
            assert what is not None
    assert len(waits) == (what is not None)
    assert all(wait.startswith(f"{what} at tests/contract/test_device_traffic.py") for wait in waits)


@pytest.mark.parametrize("name", ["dm", "datadam"])
def test_matching_of_features_does_not_wait(name: str, train: Split, tmp_path: Path) -> None:
    case = Case(name, name, True)
    config = dataclasses.replace(case.plugin.config("cpu"), **case.overrides())
    with AwayRun(tmp_path) as run, pytest.raises(RuntimeError, match="meta"):  # the finished set is looked at
        case.plugin.distill(train, Budget(ipc=IPC), config, run)
    assert (run.steps, run.waits) == (2, [])


def test_matching_of_gradients_does_not_wait(train: Split, tmp_path: Path) -> None:
    dc = methods.get("dc").module
    network = networks.build("convnet-d1:width=4", SHAPE, K).to(AWAY)
    images, run = torch.zeros(COUNT, *SHAPE, device=AWAY).requires_grad_(), AwayRun(tmp_path)
    trainer = torch.optim.SGD(network.parameters(), lr=0.1)
    labels = torch.zeros(COUNT, dtype=torch.int64, device=AWAY)
    with watched() as waits:
        real, ours = (dc.gradients(network, images, 0, create_graph=graph) for graph in (False, True))
        gradient_distance(real, ours).backward(inputs=[images])
        for rows, _ in dc.inner_batches(images, methods.get("dc").config("cpu"), run, 0):
            dc.descend(network, trainer, images.detach()[rows], labels[rows])
    assert waits == []


@pytest.mark.parametrize("part", [False, True], ids=["all", "part"])
def test_real_batches_do_not_wait(train: Split, part: bool) -> None:
    if part:
        train = train.subset(torch.arange(0, 36, 2)).subset(torch.arange(3, 15))
    batches = RealBatches(train, preprocessing.normalise(train.mean, train.std))
    batches.draw(2, rng("real"))  # mean and deviation are sent once
    with watched() as waits:
        assert batches.draw(2, rng("real", 1)).shape == (K, 2, *SHAPE)
    assert waits == []
