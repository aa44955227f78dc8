"""What training gives: the parameters, the files they are in, and what is said and refused before."""

from __future__ import annotations

import dataclasses
import io
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from expert_cases import RECIPES, Steps, content, same
from torch import Tensor
from torch.nn import functional as F

from condense import data, networks, preprocessing
from condense.data import Split
from condense.errors import BadInput, Diverged
from condense.experts import ExpertRecipe, Experts, Store, cost, experts
from condense.experts.gradients import flat_gradient
from condense.experts.trainer import Pixels, Stream, Trainer
from condense.experts.trajectory import STORES
from condense.flat import FlatNetwork
from condense.preprocessing import Preprocessing
from condense.progress import Progress
from condense.run import Run
from condense.training import Engine, SplitSource, accuracy

OpenRun = Callable[..., Run]
Ask = Callable[..., Experts]

pytestmark = pytest.mark.usefixtures("no_stray_output")


def test_accuracy_rises_over_the_epochs(open_run: OpenRun) -> None:
    digits = data.load("digits")
    train, held = digits.train.subset(range(500)), digits.test.subset(range(200))
    space = preprocessing.fit("normalise", train)
    recipe = ExpertRecipe(network="convnet:width=16", batch=25, lr=0.1)
    pool = experts(train, space, recipe, count=1, epochs=3, run=open_run())
    found = [accuracy(pool.network.module(pool.at(0, epoch)), SplitSource(held, space)) for epoch in range(4)]
    assert found[0] < 0.3 < found[1] < found[3]
    assert found[3] > 0.7


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("store", STORES)
def test_a_longer_need_extends_what_is_there_to_the_bits_of_training_at_once(
    recipe: str, store: Store, ask: Ask
) -> None:
    at_once = ask(recipe, "other", epochs=5, store=store)
    short = ask(recipe, epochs=2, store=store)
    before = content(short)
    longer = ask(recipe, epochs=5, store=store)
    assert same(longer, at_once)
    for name, written in content(longer).items():
        assert written.startswith(before[name])


def test_what_is_there_is_not_trained_again(ask: Ask, open_run: OpenRun) -> None:
    first = ask(epochs=3)
    steps = Steps()
    again = ask(epochs=2, run=open_run(seed=5, progress=steps))
    assert (steps.trained, steps.said) == (0, [])
    assert torch.equal(again.at(1, 2), first.at(1, 2))
    ask(count=3, epochs=3, run=open_run(progress=steps))
    assert steps.trained == 3


def test_the_work_is_announced_before_it_starts(ask: Ask, open_run: OpenRun) -> None:
    steps = Steps()
    pool = ask(run=open_run(progress=steps))
    (line,) = steps.said
    assert line.startswith("2 experts of 3 epochs, 6 epochs of them to be trained: at least ")
    assert line.endswith(f" more on disk in {pool.folder}")
    ask(epochs=4, run=open_run(progress=steps))
    assert "2 epochs of them to be trained" in steps.said[1]


def test_what_one_expert_has_beyond_the_need_is_no_room_for_another(ask: Ask, open_run: OpenRun) -> None:
    longer = ask(count=1, epochs=30)
    steps = Steps()
    ask(count=2, epochs=3, run=open_run(progress=steps))
    second = (longer.folder / "0001.trajectory").stat().st_size
    said = steps.said[0]
    (amount,) = re.findall(r"at least .*, ([\d.]+) kB more on disk", said)
    assert float(amount) == pytest.approx(second / 1e3, rel=0.2)


def test_progress_counts_epochs(ask: Ask, open_run: OpenRun) -> None:
    stream = io.StringIO()
    ask(run=open_run(progress=Progress(stream, worth_a_line=0)))
    assert "condense: experts: 6 of 6 in " in stream.getvalue()


def test_too_small_a_disk_is_refused_before_anything_is_trained(
    ask: Ask, open_run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10))  # type: ignore[attr-defined]
    steps = Steps()
    with pytest.raises(BadInput, match=r"the experts need .* on disk and .* has 10 B; choose another --cache-dir"):
        ask(run=open_run(progress=steps))
    assert steps.trained == 0


def test_experts_differ_and_start_from_initialisations_of_the_library(ask: Ask, train: Split) -> None:
    pool = ask()
    assert not torch.equal(pool.at(0, 0), pool.at(1, 0))
    fresh = networks.build(RECIPES["mtt"].network, train.shape, train.n_classes)
    assert pool.at(0, 0).shape == (networks.parameter_count(fresh),) == (pool.network.size,)
    assert pool.at(0, 0).dtype == torch.float32
    assert float(pool.at(0, 0).std()) == pytest.approx(float(pool.network.flatten(fresh).std()), rel=0.3)


def test_recipes_share_starts_and_batches_so_that_ingredients_compare(ask: Ask) -> None:
    plain, flat, half = ask("mtt"), ask("ftd"), ask("mtt", store="bfloat16-differences")
    assert torch.equal(plain.at(1, 0), flat.at(1, 0))
    assert not torch.equal(plain.at(1, 1), flat.at(1, 1))
    assert torch.equal(plain.at(1, 0), half.at(1, 0))
    change = plain.at(1, 3) - plain.at(1, 2)
    assert float((half.at(1, 3) - plain.at(1, 3)).norm()) < 0.01 * float(change.norm())
    assert len({pool.folder for pool in (plain, flat, half)}) == 3


def test_gsam_without_a_radius_and_alpha_approaches_plain_sgd(ask: Ask) -> None:
    nearly = dataclasses.replace(RECIPES["ftd"], rho=1e-9, alpha=0.0)
    torch.testing.assert_close(ask(nearly).at(0, 3), ask("mtt").at(0, 3), rtol=1e-4, atol=1e-5)


def test_a_step_of_flat_experts_takes_radius_and_alpha_from_the_recipe(train: Split, space: Preprocessing) -> None:
    recipe = dataclasses.replace(RECIPES["ftd"], rho=0.05, alpha=0.4, momentum=0.0, weight_decay=0.0)
    module = networks.build(recipe.network, train.shape, 3, torch.Generator().manual_seed(1))
    flat = FlatNetwork(module)
    start = flat.flatten(module)[None]
    stream = Stream(Pixels(train, space, train.device, Engine()), recipe, recipe.augmentation(train), seed=2)
    batch = stream(0, 0)

    def gradient(at: Tensor) -> Tensor:
        leaf = at[0].detach().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(flat.call(leaf, batch.images), batch.target), leaf)[0][None]

    direction = flat_gradient(gradient, start, rho=0.05, alpha=0.4, adaptive=recipe.adaptive)
    moved = start.clone()
    Trainer(flat, [stream], recipe, Engine()).step(moved, torch.zeros(1, 0), 0, 0)
    torch.testing.assert_close(moved - start, -recipe.lr * direction, rtol=1e-4, atol=1e-7)


def test_the_batched_engine_agrees_with_one_at_a_time(ask: Ask) -> None:
    together, alone = ask(engine=Engine("batched"), count=3), ask(count=3)
    assert together.folder != alone.folder
    for expert in range(3):
        torch.testing.assert_close(together.at(expert, 1), alone.at(expert, 1), rtol=1e-3, atol=1e-4)


def test_divergence_is_an_error_and_never_stored(ask: Ask) -> None:
    with pytest.raises(Diverged):
        ask(dataclasses.replace(RECIPES["mtt"], lr=1e30))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count of experts must be a whole number of at least 1, got 0"),
        ({"epochs": 0}, "epochs of experts must be a whole number of at least 1, got 0"),
        ({"store": "bfloat16"}, "store must be one of float32, bfloat16-differences; got 'bfloat16'"),
        ({"engine": Engine(precision="float64")}, "experts are stored in float32"),
        ({"recipe": ExpertRecipe(network="convnet:width=4,norm=batch")}, "batch norm"),
    ],
)
def test_what_cannot_be_trained_is_refused(ask: Ask, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        ask(**options)


def test_labels_are_needed(train: Split, space: Preprocessing, open_run: OpenRun) -> None:
    with pytest.raises(BadInput, match="unlabelled"):
        experts(train.unlabelled(), space, RECIPES["mtt"], count=1, epochs=1, run=open_run())


def test_experts_and_epochs_that_are_not_there_are_refused(ask: Ask) -> None:
    pool = ask()
    assert (len(pool), pool.epochs, pool.recipe) == (2, 3, RECIPES["mtt"])
    with pytest.raises(BadInput, match=r"there are the experts 0 to 1, 2 was asked for"):
        pool.at(2, 0)
    with pytest.raises(BadInput, match=r"hold the epochs 0 to 3, 4 was asked for"):
        pool.at(0, 4)


def test_the_announced_work_counts_passes_and_bytes(train: Split) -> None:
    plain, flat, smooth = (cost(train, RECIPES[name], 4, 5) for name in ("mtt", "ftd", "ast"))
    network = networks.build("convnet:width=4", train.shape, train.n_classes)
    assert plain.operations == 4 * 5 * 20 * 3 * networks.operations(network, train.shape)
    assert flat.operations == 2 * plain.operations
    assert smooth.operations == 3 * plain.operations
    assert plain.disk_bytes == 4 * 6 * 4 * networks.parameter_count(network)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("store", STORES)
def test_the_announced_disk_is_that_of_the_files(recipe: str, store: Store, ask: Ask, train: Split) -> None:
    files_of_three = [len(written) for written in content(ask(recipe, count=3, epochs=4, store=store)).values()]
    announced = cost(train, RECIPES[recipe], 3, 4, store).disk_bytes
    assert 0 <= sum(files_of_three) - announced < 3 * 2048  # descriptions and the frames of records
