from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from condense import networks
from condense.augment import DSA, Draw
from condense.data import Split
from condense.experts import AST, FTD, MTT, ExpertRecipe
from condense.experts.trainer import Pixels, Stream, Trainer
from condense.flat import FlatNetwork
from condense.preprocessing import Preprocessing
from condense.run.randomness import generator
from condense.training import Engine

DEVICE = torch.device("cpu")
TINY = {"network": "convnet:width=4", "batch": 8}
RECIPES = {
    "mtt": dataclasses.replace(MTT, **TINY, lr=0.1),
    "ftd": dataclasses.replace(FTD, **TINY, lr=0.1),
    "ast": dataclasses.replace(AST, **TINY, lr=0.05, drop=(1, 0.5), loss_ramp=(3, 0.5)),
}


def trainer(
    recipe: ExpertRecipe, train: Split, space: Preprocessing, seeds: Sequence[int], engine: Engine
) -> tuple[Trainer, Tensor, Tensor]:
    """A trainer with its parameters and momentum, in the engine's precision."""
    dtype = torch.float64 if engine.precision == "float64" else torch.float32
    modules = [
        networks.build(recipe.network, train.shape, train.n_classes, generator(seed, "init")).to(dtype)
        for seed in seeds
    ]
    flat = FlatNetwork(modules[0])
    pixels = Pixels(train, space, DEVICE, engine)
    streams = [Stream(pixels, recipe, recipe.augmentation(train), seed) for seed in seeds]
    parameters = torch.stack([flat.flatten(module).detach().clone() for module in modules])
    return Trainer(flat, streams, recipe, engine), parameters, torch.zeros_like(parameters)


def trained(name: str, train: Split, space: Preprocessing, seeds: Sequence[int], engine: Engine) -> Tensor:
    work, parameters, momentum = trainer(RECIPES[name], train, space, seeds, engine)
    for index in range(9):
        work.step(parameters, momentum, *divmod(index, 3))
    return parameters


@pytest.mark.parametrize("name", RECIPES)
def test_experts_trained_together_are_those_trained_one_at_a_time(
    name: str, train: Split, space: Preprocessing
) -> None:
    together = trained(name, train, space, [3, 4, 5], Engine("batched", precision="float64"))
    alone = [trained(name, train, space, [seed], Engine(precision="float64")) for seed in (3, 4, 5)]
    start = trainer(RECIPES[name], train, space, [3, 4, 5], Engine(precision="float64"))[1]
    assert float((together - start).norm()) > 0.01
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.01), (0.0, 0.01)])
def test_a_step_is_that_of_pytorchs_sgd(momentum: float, decay: float, train: Split, space: Preprocessing) -> None:
    recipe = ExpertRecipe(**TINY, lr=0.1, momentum=momentum, weight_decay=decay, drop=(0, 0.5))  # type: ignore[arg-type]
    engine = Engine(precision="float64")
    work, parameters, velocity = trainer(recipe, train, space, [3], engine)
    stream = Stream(Pixels(train, space, DEVICE, engine), recipe, recipe.augmentation(train), 3)
    network = networks.build(recipe.network, train.shape, train.n_classes, generator(3, "init")).double()
    for index in range(9):
        epoch, step = divmod(index, 3)
        if step == 0 and epoch in (0, 1):  # made anew where the rate drops
            rate = 0.1 if epoch == 0 else 0.05
            optimiser = torch.optim.SGD(network.parameters(), rate, momentum=momentum, weight_decay=decay)
        batch = stream(epoch, step)
        optimiser.zero_grad()
        F.cross_entropy(network(batch.images), batch.target).backward()
        optimiser.step()
        work.step(parameters, velocity, epoch, step)
    torch.testing.assert_close(parameters[0], FlatNetwork(network).flatten(network), rtol=1e-10, atol=1e-12)


def test_an_epoch_sees_every_image_once_and_orders_differ(train: Split, space: Preprocessing) -> None:
    recipe = ExpertRecipe(batch=8, augment=None)
    stream = Stream(Pixels(train, space, DEVICE, Engine()), recipe, recipe.augmentation(train), 0)
    epochs = [torch.cat([stream(epoch, step).images for step in range(3)]) for epoch in range(2)]
    everything = space.forward(train.take(torch.arange(20)))
    for seen in epochs:
        assert torch.equal(seen.flatten(1).sum(1).sort().values, everything.flatten(1).sum(1).sort().values)
    assert not torch.equal(*epochs)


def test_batches_depend_on_nothing_but_seed_and_place(train: Split, space: Preprocessing) -> None:
    recipe = ExpertRecipe(batch=8)
    pixels = Pixels(train, space, DEVICE, Engine())
    first, second = (Stream(pixels, recipe, recipe.augmentation(train), 7) for _ in range(2))
    for epoch in range(3):
        for step in range(3):
            first(epoch, step)
    late, asked_at_once = first(1, 1), second(1, 1)
    assert torch.equal(late.images, asked_at_once.images)
    assert torch.equal(late.target, asked_at_once.target)


def test_gsam_augments_once_for_both_gradients(
    train: Split, space: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    apply = DSA.apply

    def counted(self: DSA, images: Tensor, draw: Draw) -> Tensor:
        calls.append(len(images))
        return apply(self, images, draw)

    monkeypatch.setattr(DSA, "apply", counted)
    work, parameters, momentum = trainer(RECIPES["ftd"], train, space, [3], Engine())
    work.step(parameters, momentum, 0, 0)
    assert calls == [8]


def test_the_penalty_looks_at_images_before_augmentation(train: Split, space: Preprocessing) -> None:
    pixels = Pixels(train, space, DEVICE, Engine())
    stream = Stream(pixels, RECIPES["ast"], RECIPES["ast"].augmentation(train), 0)
    plain = Stream(pixels, RECIPES["ast"], ExpertRecipe(augment=None).augmentation(train), 0)
    batch = stream(0, 1)
    assert batch.clean is not None
    assert torch.equal(batch.clean, plain(0, 1).images)
    assert not torch.equal(batch.clean, batch.images)
    assert Stream(pixels, MTT, MTT.augmentation(train), 0)(0, 0).clean is None


def test_whitened_images_are_those_of_the_preprocessing(train: Split) -> None:
    from condense import preprocessing

    space = preprocessing.fit("zca", train)
    rows = torch.tensor([4, 1, 4])
    found = Pixels(train, space, DEVICE, Engine()).take(rows)
    torch.testing.assert_close(found, space.forward(train.take(rows)), rtol=1e-5, atol=1e-5)
