from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from condense import networks
from condense.errors import BadInput
from condense.training import Engine, Recipe, Resident, Rng, choose, engines, train
from condense.training.batches import Batch
from condense.training.recipe import Loss
from condense.training.sequential import SequentialStep

SHAPE = (3, 32, 32)
LONG = Recipe.matching(1000)
COMPILED = Engine(compile=True, channels_last=True)


@pytest.fixture
def convnet() -> nn.Module:
    return networks.build("convnet-d3", SHAPE, 10)


@pytest.fixture(autouse=True)
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_compiler", lambda: True)


def test_a_long_training_on_a_cpu_is_compiled(convnet: nn.Module) -> None:
    assert choose(LONG, convnet, 100, "cpu", shape=SHAPE, seeds=5) == COMPILED


def test_a_short_training_is_not(convnet: nn.Module) -> None:
    assert choose(Recipe(2), convnet, 100, "cpu", shape=SHAPE) == Engine()
    digits = networks.build("convnet-d2", (1, 8, 8), 10)
    assert choose(Recipe(300), digits, 100, "cpu", shape=(1, 8, 8), seeds=2) == Engine()


def test_more_seeds_repay_a_compilation_that_one_does_not(convnet: nn.Module) -> None:
    chosen = [choose(Recipe(60), convnet, 100, "cpu", shape=SHAPE, seeds=seeds) for seeds in range(1, 60)]
    assert chosen[0] == Engine()
    assert chosen[-1] == COMPILED
    assert chosen == sorted(chosen, key=lambda engine: engine.compile)


def test_what_was_not_measured_is_trained_plainly(convnet: nn.Module) -> None:
    assert choose(LONG, nn.Sequential(convnet), 100, "cpu", shape=SHAPE, seeds=5) == Engine()
    assert choose(LONG, convnet, 100, "cuda", shape=SHAPE, seeds=5) == Engine()
    double = LONG.replace(precision="float64")
    assert choose(double, convnet, 100, "cpu", shape=SHAPE, seeds=5) == Engine(precision="float64")


def test_without_a_compiler_nothing_is_compiled(convnet: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_compiler", lambda: False)
    assert choose(LONG, convnet, 100, "cpu", shape=SHAPE, seeds=5) == Engine()


def test_the_precision_is_the_recipe_s(convnet: nn.Module) -> None:
    half = LONG.replace(precision="bfloat16")
    assert choose(half, convnet, 100, "cpu", shape=SHAPE, seeds=5).precision == "bfloat16"


def test_an_engine_says_what_it_is() -> None:
    assert str(Engine()) == "sequential eager float32"
    assert str(COMPILED) == "sequential compiled float32 channels-last"
    with pytest.raises(BadInput, match="engine must be 'sequential' or 'batched', got 'parallel'"):
        Engine("parallel")
    with pytest.raises(BadInput, match="the batched engine runs uncompiled"):
        Engine("batched", compile=True)


def test_batch_statistics_are_taken_within_the_groups_of_the_labels(
    source: Resident, stream: Callable[[int], Rng], build: Callable[[str], Callable[[torch.Generator], nn.Module]]
) -> None:
    network = build("convnet-d1:width=4,norm=batch")(stream(0)("init")).double()
    images, target = source.images[:6].double(), source.labels.hard()[:6]
    groups = torch.tensor([7, 0, 7, 0, 0, 0])
    value = SequentialStep(network, Loss(), Engine(precision="float64"))(Batch(images, target, groups))
    parts = [
        nn.functional.cross_entropy(network(images[rows]), target[rows], reduction="sum")
        for rows in ([0, 2], [1, 3, 4, 5])
    ]
    torch.testing.assert_close(value, sum(parts).detach() / 6)
    together = nn.functional.cross_entropy(network(images), target)
    assert not torch.allclose(value, together)


def test_training_chooses_for_itself(
    source: Resident,
    stream: Callable[[int], Rng],
    build: Callable[..., Callable[..., nn.Module]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, object]] = []

    def recorded(*arguments: object, **named: object) -> Engine:
        asked.append(named)
        return Engine()

    monkeypatch.setattr("condense.training.descent.choose", recorded)
    train(build("mlp:width=8")(stream(0)("init")), source, Recipe(1), stream(0))
    assert asked == [{"shape": (3, 16, 16)}]
