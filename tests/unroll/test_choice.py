"""Machine code is built where the work repays it, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from condense import networks
from condense.flat import FlatNetwork
from condense.unroll import Engine, choose

SHAPE = (3, 32, 32)


@pytest.fixture
def convnet(monkeypatch: pytest.MonkeyPatch) -> FlatNetwork:
    monkeypatch.setattr("condense.unroll.choice.shutil.which", lambda name: name)
    return FlatNetwork(networks.build("convnet-d3:width=32", SHAPE, 10, torch.Generator().manual_seed(0)))


def test_long_runs_are_compiled_and_short_ones_keep_graphs(convnet: FlatNetwork) -> None:
    assert choose(convnet, SHAPE, 5000 * 30 * 100) == Engine(compile=True)
    assert choose(convnet, SHAPE, 5000 * 30 * 100, bfloat16=True) == Engine(bfloat16=True, compile=True)
    assert choose(convnet, SHAPE, 10 * 10 * 10, graph_bytes=2**20) == Engine(graph_bytes=2**20)


def test_more_work_never_turns_the_compiler_off(convnet: FlatNetwork) -> None:
    chosen = [choose(convnet, SHAPE, 10**power).compile for power in range(9)]
    assert chosen == sorted(chosen)
    assert chosen[0] is False
    assert chosen[-1] is True


def test_wider_networks_repay_it_sooner(convnet: FlatNetwork) -> None:
    wide = FlatNetwork(networks.build("convnet-d3:width=128", SHAPE, 10, torch.Generator().manual_seed(0)))
    passes = next(count for count in range(1000, 10**6, 1000) if choose(wide, SHAPE, count).compile)
    assert not choose(convnet, SHAPE, passes).compile


def test_what_cannot_be_compiled_is_not(convnet: FlatNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    perceptron = FlatNetwork(networks.build("mlp", SHAPE, 10, torch.Generator().manual_seed(0)))
    assert not choose(perceptron, SHAPE, 10**9).compile
    assert not choose(convnet, SHAPE, 10**9, device="cuda").compile
    monkeypatch.setattr("condense.unroll.choice.shutil.which", lambda name: None)
    assert not choose(convnet, SHAPE, 10**9).compile
