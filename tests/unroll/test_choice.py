"""Machine code is built where the work repays it, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from condense import networks
from condense.errors import UnknownName
from condense.flat import FlatNetwork
from condense.unroll import Engine, choose

SHAPE = (3, 32, 32)


@pytest.fixture
def convnet(monkeypatch: pytest.MonkeyPatch) -> FlatNetwork:
    monkeypatch.setattr("condense.unroll.choice.shutil.which", lambda name: name)
    return FlatNetwork(networks.build("convnet-d3:width=32", SHAPE, 10, torch.Generator().manual_seed(0)))


def test_long_runs_are_compiled_and_short_ones_keep_graphs(convnet: FlatNetwork) -> None:
    assert choose(convnet, SHAPE, 5000 * 30 * 100) == (Engine(compile=True), None)
    assert choose(convnet, SHAPE, 5000 * 30 * 100, bfloat16=True).engine == Engine(bfloat16=True, compile=True)
    assert choose(convnet, SHAPE, 5000 * 30 * 100, name="tesla").engine == Engine("tesla", compile=True)
    short = choose(convnet, SHAPE, 10 * 10 * 10, graph_bytes=2**20)
    assert short == (Engine(graph_bytes=2**20), "it takes about 85 s and would save about 2 s")


def test_nothing_is_compiled_where_nobody_asked(convnet: FlatNetwork) -> None:
    found = choose(convnet, SHAPE, 5000 * 30 * 100, graph_bytes=7, may_compile=False)
    assert found == (Engine(graph_bytes=7), None)


def test_more_work_never_turns_the_compiler_off(convnet: FlatNetwork) -> None:
    chosen = [choose(convnet, SHAPE, 10**power).engine.compile for power in range(9)]
    assert chosen == sorted(chosen)
    assert chosen[0] is False
    assert chosen[-1] is True


def test_wider_networks_repay_it_sooner(convnet: FlatNetwork) -> None:
    wide = FlatNetwork(networks.build("convnet-d3:width=128", SHAPE, 10, torch.Generator().manual_seed(0)))
    passes = next(count for count in range(1000, 10**6, 1000) if choose(wide, SHAPE, count).engine.compile)
    assert not choose(convnet, SHAPE, passes).engine.compile


@pytest.mark.parametrize(
    ("network", "changes", "reason"),
    [
        ("mlp", {}, "written for the ConvNet, and this is MLP"),
        ("convnet:width=8,norm_at=input", {}, "norm_at=output, and this one norms its inputs"),
        ("convnet", {"name": "higher", "graph_bytes": 9}, "the engine 'higher' keeps graphs of autograd"),
        ("convnet", {"device": "cuda"}, "on a CPU alone, and this is cuda"),
    ],
)
def test_what_cannot_be_compiled_is_not_and_says_why(network: str, changes: dict[str, Any], reason: str) -> None:
    flat = FlatNetwork(networks.build(network, SHAPE, 10, torch.Generator().manual_seed(0)))
    engine, uncompiled = choose(flat, SHAPE, 10**9, **changes)
    assert engine == Engine(changes.get("name", "adjoint"))
    assert uncompiled is not None
    assert reason in uncompiled


def test_without_a_compiler_nothing_is_compiled(convnet: FlatNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("condense.unroll.choice.shutil.which", lambda name: None)
    monkeypatch.setenv("CXX", "clang++")
    assert choose(convnet, SHAPE, 10**9) == (Engine(), "there is no C++ compiler 'clang++'")


def test_an_unknown_engine_is_refused(convnet: FlatNetwork) -> None:
    with pytest.raises(UnknownName, match="did you mean higher"):
        choose(convnet, SHAPE, 10, name="highre")
