from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from condense import augment, networks
from condense.distilled.labels import Representations, SoftLabels
from condense.errors import BadInput, Diverged
from condense.run import Run
from condense.training import Engine, Loss, Recipe, Resident, Rng, Schedule, accuracy, train, train_seeds

Stream = Callable[[int], Rng]
Build = Callable[[str], Callable[[torch.Generator], nn.Module]]

DOUBLE = Engine(precision="float64")
SMALL = "convnet-d2:width=4"
# 20 steps: five epochs of batches of 11, 11, 11 and 7.
TWENTY_STEPS = Recipe(
    5, 11, lr=0.05, augment={"kind": "dsa"}, precision="float64", schedule=Schedule("drop-restart", after=2)
)


def state(network: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().double().flatten() for value in network.state_dict().values()])


@pytest.mark.parametrize("network", [SMALL, f"{SMALL},norm=batch", "mlp:width=16", "lenet"])
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_batched_seeds_are_the_sequential_ones(
    network: str, optimiser: str, stream: Stream, source: Resident, build: Build
) -> None:
    recipe = TWENTY_STEPS.replace(optimiser=optimiser, decay="matrices", lr=0.05 if optimiser == "sgd" else 1e-3)
    rngs = [stream(seed) for seed in range(3)]
    sequential = train_seeds(build(network), source, recipe, rngs, engine=DOUBLE)
    batched = train_seeds(build(network), source, recipe, rngs, engine=replace(DOUBLE, name="batched"))
    for one, other in zip(sequential, batched, strict=True):
        # float64; the engines differ in the order of summation alone.
        torch.testing.assert_close(state(one), state(other), rtol=0, atol=1e-9)
    assert not torch.allclose(state(batched[0]), state(batched[1]))


def test_both_engines_ask_for_the_same_draws(stream: Stream, source: Resident, build: Build) -> None:
    def recorded(engine: Engine) -> list[tuple[int, str, tuple[int, ...], int]]:
        asked = []

        def watched(seed: int) -> Rng:
            def rng(name: str, *ids: int) -> torch.Generator:
                found = stream(seed)(name, *ids)
                if name != "dropout":  # the batched engine refuses networks that would use it
                    asked.append((seed, name, ids, found.initial_seed()))
                return found

            return rng

        recipe = TWENTY_STEPS.replace(mix={"kind": "cutmix"})
        train_seeds(build("mlp:width=8"), source, recipe, [watched(0), watched(1)], engine=engine)
        return sorted(asked)

    assert recorded(DOUBLE) == recorded(replace(DOUBLE, name="batched"))
    assert {name for _, name, _, _ in recorded(DOUBLE)} == {"init", "order", "augment", "mix"}


def test_training_is_the_published_loop_written_out(stream: Stream, source: Resident, build: Build) -> None:
    recipe = Recipe.matching(4, batch=16, augment={"kind": "dsa"}, precision="float64")
    rng = stream(7)
    found = build(SMALL)(rng("init"))
    train(found, source, recipe, rng, engine=DOUBLE)

    network, rate = build(SMALL)(rng("init")).double(), 0.01
    optimiser = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    for epoch in range(4 + 1):
        order = torch.randperm(40, generator=rng("order", epoch))
        for step, rows in enumerate(order.split(16)):
            images = augment.DSA()(source.images[rows].double(), rng("augment", epoch, step))
            optimiser.zero_grad()
            F.cross_entropy(network(images), source.labels.hard()[rows]).backward()
            optimiser.step()
        if epoch == 4 // 2 + 1:
            rate *= 0.1
            optimiser = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    torch.testing.assert_close(state(found), state(network), rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine", [DOUBLE, replace(DOUBLE, name="batched")], ids=lambda engine: engine.name)
def test_updates_end_a_training_within_a_pass(engine: Engine, stream: Stream, source: Resident, build: Build) -> None:
    """Ten steps of four a pass; the cosine spans what is made, and a pass that they fill is a whole one."""
    seen: list[tuple[int, int]] = []
    recipe = TWENTY_STEPS.replace(epochs=3, updates=10, schedule=Schedule("constant"))
    (found,) = train_seeds(
        build(SMALL), source, recipe, [stream(0)], engine=engine, on_step=lambda e, s, _: seen.append((e, s))
    )
    assert seen == [(step // 4, step % 4) for step in range(10)]
    (longer,) = train_seeds(build(SMALL), source, recipe.replace(updates=11), [stream(0)], engine=engine)
    assert not torch.equal(state(found), state(longer))
    falling = Schedule("cosine", per="step")
    assert falling.multiplier(2, 1, 4, 10 / 4) == pytest.approx((1 + math.cos(math.pi * 0.9)) / 2)
    (whole,) = train_seeds(build(SMALL), source, recipe.replace(updates=None, epochs=2), [stream(0)], engine=engine)
    (same,) = train_seeds(build(SMALL), source, recipe.replace(updates=8), [stream(0)], engine=engine)
    assert torch.equal(state(whole), state(same))


def test_momentum_restarts_at_the_drop(stream: Stream, source: Resident, build: Build) -> None:
    def trained(schedule: Schedule) -> torch.Tensor:
        network = build(SMALL)(stream(0)("init"))
        train(network, source, TWENTY_STEPS.replace(schedule=schedule), stream(0), engine=DOUBLE)
        return state(network)

    # A factor of 1 leaves the restart as the only difference to a constant rate.
    assert not torch.equal(trained(Schedule("drop-restart", after=2, factor=1.0)), trained(Schedule()))


def with_dropout(generator: torch.Generator) -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 16 * 16, 4))
    networks.initialise(network, generator)
    return network


@pytest.mark.parametrize("dropout", [False, True])
def test_equal_calls_give_equal_bits_and_leave_the_global_generator_alone(
    dropout: bool, stream: Stream, source: Resident, build: Build
) -> None:
    before = torch.get_rng_state()
    states = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        network = (with_dropout if dropout else build(SMALL))(stream(0)("init"))
        disturbed = torch.get_rng_state()
        train(network, source, Recipe(3, 16), stream(0), engine=Engine())
        assert torch.equal(torch.get_rng_state(), disturbed)
        states.append(state(network))
    torch.set_rng_state(before)
    assert torch.equal(*states)


def test_the_batched_engine_refuses_dropout(stream: Stream, source: Resident) -> None:
    with pytest.raises(BadInput, match="dropout is trained one seed at a time; use the engine 'sequential'"):
        train_seeds(with_dropout, source, Recipe(1), [stream(0)], engine=Engine("batched"))


# An optimiser that walks through memory must find its momentum in the order of the weights again.
ADAM = TWENTY_STEPS.replace(optimiser="adamw", lr=1e-3, momentum=0.0)
LAST = Engine(channels_last=True)


@pytest.mark.parametrize(
    ("recipe", "engine"),
    [
        (TWENTY_STEPS, DOUBLE),
        (TWENTY_STEPS.replace(precision="float32"), LAST),
        (ADAM.replace(precision="float32"), LAST),
    ],
    ids=["plain", "channels-last-sgd", "channels-last-adamw"],
)
def test_a_training_that_was_interrupted_ends_with_the_bits_of_an_unbroken_one(
    tmp_path: Path, stream: Stream, source: Resident, build: Build, recipe: Recipe, engine: Engine
) -> None:
    class KilledError(Exception):
        pass

    def die_at(epoch: int, step: int) -> Callable[[int, int, torch.Tensor], None]:
        def on_step(*place: object) -> None:
            if place[:2] == (epoch, step):
                raise KilledError

        return on_step

    unbroken = build(f"{SMALL},norm=batch")(stream(0)("init"))
    train(unbroken, source, recipe, stream(0), engine=engine)
    for place in ((0, 0), (2, 3), (3, 0), (4, 2)):  # 3, 0: just behind the drop
        with pytest.raises(KilledError), Run(tmp_path / "run", seed=0, checkpoint_seconds=0.0) as run:
            network = build(f"{SMALL},norm=batch")(stream(0)("init"))
            train(network, source, recipe, stream(0), engine=engine, run=run, on_step=die_at(*place))
    for _ in range(2):  # the second time the phase is finished, and its end state is given back
        with Run(tmp_path / "run", seed=0) as run:
            network = build(f"{SMALL},norm=batch")(stream(0)("init"))
            train(network, source, recipe, stream(0), engine=engine, run=run)
        assert torch.equal(state(network), state(unbroken))


def test_divergence_is_an_error_that_says_where(stream: Stream, source: Resident, build: Build) -> None:
    recipe = Recipe(60, lr=1e30, loss=Loss("mse"))
    with pytest.raises(
        Diverged, match=r"training diverged: the loss is .* in epoch 50, step 0; lower the learning rate"
    ):
        train(build("mlp:width=8")(stream(0)("init")), source, recipe, stream(0))
    with pytest.raises(Diverged, match=r"training diverged: the loss is .*, .* in epoch 50"):
        train_seeds(build("mlp:width=8"), source, recipe, [stream(0), stream(1)], engine=Engine("batched"))
    with pytest.raises(Diverged, match="the last step left parameters that are not finite"):
        train(build("mlp:width=8")(stream(0)("init")), source, recipe.replace(epochs=1, lr=1e39), stream(0))


def test_an_empty_set_cannot_be_trained_on(stream: Stream, source: Resident, build: Build) -> None:
    empty = Resident(source.images[:0], source.labels, 4)
    with pytest.raises(BadInput, match="cannot train on an empty set"):
        train(build(SMALL)(stream(0)("init")), empty, Recipe(1), stream(0))


def test_a_precision_that_the_engine_does_not_have_is_refused(stream: Stream, source: Resident, build: Build) -> None:
    with pytest.raises(BadInput, match="the recipe asks for float64, the engine computes in float32"):
        train(build(SMALL)(stream(0)("init")), source, TWENTY_STEPS, stream(0), engine=Engine())


def test_networks_learn_from_hard_soft_and_vector_labels(stream: Stream, source: Resident, build: Build) -> None:
    one_hot = F.one_hot(source.labels.hard(), 4).float()
    cases = [
        (source.labels, Loss()),
        (SoftLabels(one_hot), Loss("kl")),
        (SoftLabels(20 * one_hot, form="logits"), Loss("cross-entropy", temperature=2.0)),
        (Representations(one_hot), Loss("mse")),
    ]
    for labels, loss in cases:
        network = build("mlp:width=32")(stream(0)("init"))
        train(network, Resident(source.images, labels, 4), Recipe(40, lr=0.1, loss=loss), stream(0))
        assert accuracy(network, source) == 1.0


def test_bfloat16_trains_parameters_in_single_precision(stream: Stream, source: Resident, build: Build) -> None:
    network = build(SMALL)(stream(0)("init"))
    train(network, source, Recipe(2, precision="bfloat16"), stream(0), engine=Engine(precision="bfloat16"))
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    exact = build(SMALL)(stream(0)("init"))
    train(exact, source, Recipe(2), stream(0), engine=Engine())
    assert not torch.equal(state(network), state(exact))
    torch.testing.assert_close(state(network), state(exact), rtol=0, atol=5e-3)  # bfloat16 has 8 bits


def test_frozen_parameters_stay(stream: Stream, source: Resident, build: Build) -> None:
    def half_frozen(generator: torch.Generator) -> nn.Module:
        network = build(SMALL)(generator)
        first = next(network.parameters())
        first.requires_grad_(False)
        return network

    for engine in (Engine(), Engine("batched")):
        (network,) = train_seeds(half_frozen, source, Recipe(2), [stream(0)], engine=engine)
        fresh = build(SMALL)(stream(0)("init"))
        same = [torch.equal(*pair) for pair in zip(network.parameters(), fresh.parameters(), strict=True)]
        assert same[0]
        assert not any(same[1:])
