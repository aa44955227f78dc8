"""What an unrolled training is announced to take, for each engine."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from condense import networks
from condense.budget import Budget
from condense.data import Split
from condense.methods import mtt


@pytest.fixture
def train() -> Split:
    images = torch.zeros(40, 3, 16, 16, dtype=torch.uint8)
    return Split.from_arrays(images, torch.arange(40) % 4, ("a", "b", "c", "d"))


@pytest.mark.parametrize("engine", ["unroll", "higher"])
def test_an_engine_that_keeps_every_graph_is_announced_with_all_of_them(engine: str, train: Split) -> None:
    adjoint = mtt.Config(student_steps=50, expert_batch=8, graph_gibibytes=0.0, preprocessing="normalise")
    every = dataclasses.replace(adjoint, engine=engine)
    one, all_of_them = (mtt.cost(train, Budget(ipc=10), config).memory_bytes for config in (adjoint, every))
    network = networks.build(adjoint.network, train.shape, train.n_classes)
    graph = 4.0 * networks.activation_bytes(network, train.shape) * 40
    assert all_of_them - one == pytest.approx(50 * graph, rel=0.05)


def test_kept_graphs_are_announced_up_to_their_number(train: Split) -> None:
    config = mtt.Config(student_steps=50, expert_batch=8, preprocessing="normalise")
    announced = [
        mtt.cost(train, Budget(ipc=10), dataclasses.replace(config, graph_gibibytes=room)).memory_bytes
        for room in (0.0, 0.001, 1e6)
    ]
    assert announced[1] - announced[0] == pytest.approx(0.001 * 2**30)
    every = mtt.cost(train, Budget(ipc=10), dataclasses.replace(config, engine="unroll")).memory_bytes
    assert announced[2] == every
