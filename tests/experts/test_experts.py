from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_faults import KINDS, Death, Faults, Kind, injected
from torch import Tensor
from torch.nn import functional as F

from condense import data, files, networks, preprocessing
from condense.data import Split
from condense.errors import BadInput, Diverged
from condense.experts import AST, FTD, MTT, ExpertRecipe, Experts, Store, cost, experts, spent
from condense.experts.gradients import flat_gradient
from condense.experts.trainer import Pixels, Stream, Trainer
from condense.experts.trajectory import STORES
from condense.flat import FlatNetwork
from condense.preprocessing import Preprocessing
from condense.progress import NoProgress, Progress
from condense.run import Run
from condense.training import Engine, SplitSource, accuracy

OpenRun = Callable[..., Run]
Ask = Callable[..., Experts]

TINY: dict[str, Any] = {"network": "convnet:width=4", "batch": 8}
RECIPES = {
    "mtt": dataclasses.replace(MTT, **TINY, lr=0.1),
    "ftd": dataclasses.replace(FTD, **TINY, lr=0.1),
    "ast": dataclasses.replace(AST, **TINY, lr=0.05, drop=(1, 0.5), loss_ramp=(3, 0.5)),
}


@pytest.fixture
def ask(train: Split, space: Preprocessing, open_run: OpenRun) -> Ask:
    """Asks for two experts of three epochs, unless said otherwise."""

    def experts_of(recipe: str | ExpertRecipe = "mtt", cache: str = "cache", **options: Any) -> Experts:
        chosen = RECIPES[recipe] if isinstance(recipe, str) else recipe
        wanted = {"count": 2, "epochs": 3, **options}
        run = wanted.pop("run", None) or open_run(cache)
        return experts(train, space, chosen, run=run, **wanted)

    return experts_of


def everything(pool: Experts) -> list[Tensor]:
    return [pool.at(expert, epoch) for expert in range(len(pool)) for epoch in range(pool.epochs + 1)]


def content(pool: Experts) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(pool.folder.glob("*.trajectory"))}


def same(first: Experts, second: Experts) -> bool:
    pairs = zip(everything(first), everything(second), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


class Steps(NoProgress):
    """Counts the epochs that are trained, and can stand for a kill between two of them."""

    def __init__(self, die_after: int | None = None):
        self.trained = 0
        self.said: list[str] = []
        self._die_after = die_after

    def say(self, line: str) -> None:
        self.said.append(line)

    def advance(self, done: int, values: object = None) -> None:
        self.trained += 1
        if self.trained == self._die_after:
            raise KeyboardInterrupt


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


@pytest.mark.parametrize("recipe", ["mtt", "ast"])
@pytest.mark.parametrize("store", STORES)
def test_training_killed_between_epochs_gives_the_same_bytes(
    recipe: str, store: Store, ask: Ask, open_run: OpenRun
) -> None:
    expected = content(ask(recipe, "other", store=store))
    for _ in range(6):
        with contextlib.suppress(KeyboardInterrupt):
            ask(recipe, store=store, run=open_run(checkpoint_seconds=0.0, progress=Steps(die_after=1)))
    assert content(ask(recipe, store=store)) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recipe", ["mtt", "ast"])
def test_training_that_fails_anywhere_gives_the_same_bytes(
    recipe: str, kind: Kind, train: Split, space: Preprocessing, tmp_path: Path
) -> None:
    broken = dataclasses.replace(RECIPES[recipe], batch=20)  # one step an epoch

    def ask_once() -> dict[str, bytes]:
        with Run(tmp_path / "run", seed=0, cache_dir=tmp_path / "cache", checkpoint_seconds=0.0) as run:
            return content(experts(train, space, broken, count=1, epochs=2, run=run))

    with injected(Faults(kind)) as faults:
        expected = ask_once()
    assert faults.count >= 4
    # Every point once; the other combinations pass the same points.
    every = recipe == "mtt" and kind == "death at a file operation"
    for at in range(0, faults.count, 1 if every else 5):
        shutil.rmtree(tmp_path / "cache")
        with injected(Faults(kind, at)), contextlib.suppress(Death, OSError):
            ask_once()
        with injected(Faults("death at a file operation")):
            assert ask_once() == expected, f"point {at}"
        assert [str(path) for path in tmp_path.rglob(".tmp-*")] == [], f"point {at} left temporaries"


def test_an_interruption_frees_the_locks_while_its_error_is_looked_at(ask: Ask, open_run: OpenRun) -> None:
    with pytest.raises(KeyboardInterrupt) as kept:
        ask(run=open_run(progress=Steps(die_after=2)))
    assert kept.value.__traceback__ is not None
    steps = Steps()
    ask(run=open_run(progress=steps))
    assert not any("waiting" in line for line in steps.said)


def test_another_number_of_epochs_after_an_interruption(ask: Ask, open_run: OpenRun) -> None:
    for store in STORES:
        expected = ask("ast", "other", epochs=4, store=store)
        with pytest.raises(KeyboardInterrupt):
            ask("ast", epochs=6, store=store, run=open_run(checkpoint_seconds=0.0, progress=Steps(die_after=3)))
        assert torch.equal(ask("ast", count=1, epochs=2, store=store).at(0, 2), expected.at(0, 2))
        assert same(ask("ast", epochs=4, store=store), expected)


def test_a_shorter_need_leaves_the_checkpoint_of_a_longer_training(ask: Ask, open_run: OpenRun) -> None:
    ask("ast", count=1, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        ask("ast", count=1, epochs=6, run=open_run(checkpoint_seconds=0.0, progress=Steps(die_after=3)))
    ask("ast", count=1, epochs=2)
    steps = Steps()
    ask("ast", count=1, epochs=6, run=open_run(progress=steps))
    assert steps.trained == 2  # the fifth again, whose last step was not saved when the kill came, and the sixth


def flip(path: Path, place: int) -> None:
    written = bytearray(path.read_bytes())
    written[place] ^= 1
    path.write_bytes(written)


@pytest.mark.parametrize("recipe", ["mtt", "ast"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.97])
def test_a_damaged_file_is_named_and_rebuilt(
    recipe: str, part: float, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = ask(recipe)
    expected = content(pool)
    damaged = pool.folder / "0001.trajectory"
    flip(damaged, int(part * damaged.stat().st_size))
    again = ask(recipe, epochs=4)
    told = capsys.readouterr().err
    assert f"{damaged}: damaged (" in told
    assert told.count("damaged (") == 1
    assert same(again, ask(recipe, "other", epochs=4))
    assert content(again)["0000.trajectory"].startswith(expected["0000.trajectory"])


def test_a_checkpoint_that_is_ahead_of_a_mended_file_is_not_used(ask: Ask, open_run: OpenRun) -> None:
    expected = ask(cache="other", count=1)
    with pytest.raises(KeyboardInterrupt):
        ask(count=1, run=open_run(checkpoint_seconds=0.0, progress=Steps(die_after=2)))
    (path,) = (expected.folder.parents[2] / "cache").rglob("0000.trajectory")
    flip(path, path.stat().st_size // 2)
    assert same(ask(count=1), expected)


def test_a_checkpoint_that_is_ahead_of_a_file_without_its_end_is_not_used(
    ask: Ask, open_run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ask(cache="other", count=1)
    step, calls = Trainer.step, itertools.count(1)

    def killed_in_the_third_epoch(self: Trainer, *arguments: Any) -> None:
        if next(calls) == 2 * 3 + 2:  # three batches make an epoch
            raise KeyboardInterrupt
        step(self, *arguments)

    monkeypatch.setattr(Trainer, "step", killed_in_the_third_epoch)
    with pytest.raises(KeyboardInterrupt):
        ask(count=1, run=open_run(checkpoint_seconds=0.0))
    (path,) = (expected.folder.parents[2] / "cache").rglob("0000.trajectory")
    assert path.with_name("0.work").is_dir()
    os.truncate(path, path.stat().st_size - 10)
    assert same(ask(count=1), expected)


def test_a_file_that_lost_its_end_after_the_last_checkpoint_is_completed(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ask(cache="other", count=1)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(spent, "note", interrupted)
        ask(count=1)
    (path,) = (expected.folder.parents[2] / "cache").rglob("0000.trajectory")
    os.truncate(path, path.stat().st_size - 10)
    assert same(ask(count=1), expected)


def interrupted(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_a_removed_file_is_trained_again(ask: Ask) -> None:
    pool = ask()
    expected = content(pool)
    (pool.folder / "0000.trajectory").unlink()
    assert content(ask()) == expected


def test_nothing_but_the_trajectories_and_their_seconds_stays_behind(ask: Ask) -> None:
    left = {path.name for path in ask().folder.iterdir() if path.suffix != ".lock"}
    assert left == {"0000.trajectory", "0000.seconds", "0001.trajectory", "0001.seconds"}


def one_process(place: Path, train: Split, space: Preprocessing, name: str, together: Any) -> None:
    """Leaves the number of steps that it made in a file."""
    torch.set_num_threads(1)
    steps = itertools.count()
    step = Trainer.step

    def counted(*parts: Any) -> None:
        next(steps)
        step(*parts)

    Trainer.step = counted  # type: ignore[method-assign]  # of this process alone
    with Run(place / name, seed=0, cache_dir=place / "cache", checkpoint_seconds=0.0) as run:
        together.wait()
        experts(train, space, RECIPES["mtt"], count=3, epochs=2, run=run)
    (place / f"{name}.steps").write_text(str(next(steps)))


def test_processes_that_ask_at_once_share_the_work_out(
    train: Split, space: Preprocessing, tmp_path: Path, ask: Ask
) -> None:
    context = multiprocessing.get_context("fork")
    together = context.Barrier(3)
    workers = [
        context.Process(target=one_process, args=(tmp_path, train, space, name, together)) for name in ("a", "b", "c")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    made = [int((tmp_path / f"{name}.steps").read_text()) for name in ("a", "b", "c")]
    assert sum(made) == 3 * 2 * 3  # three experts, two epochs of three batches: nothing twice
    assert max(made) < sum(made)
    expected = content(ask(cache="other", count=3, epochs=2))
    assert content(ask(count=3, epochs=2)) == expected


def test_a_busy_expert_is_left_to_its_trainer(ask: Ask, open_run: OpenRun) -> None:
    folder = ask("mtt", "other", count=1).folder
    order: list[int] = []
    mine = folder.parents[2] / "cache" / "experts" / folder.name / "0000.trajectory"

    class Watch(Steps):
        def advance(self, done: int, values: object = None) -> None:
            order.append(done)
            if done == 3:  # expert 1 is done, and 0 is still held elsewhere
                held.close()

    held = contextlib.ExitStack()
    held.enter_context(files.lock(mine))
    watch = Watch()
    ask(run=open_run(progress=watch))
    assert order == [1, 2, 3, 4, 5, 6]
    assert watch.said[1:] == ["waiting for another process, which trains 1 of the experts"]


def test_the_work_is_announced_before_it_starts(ask: Ask, open_run: OpenRun) -> None:
    steps = Steps()
    pool = ask(run=open_run(progress=steps))
    (line,) = steps.said
    assert line.startswith("2 experts of 3 epochs, 6 epochs of them to be trained: at least ")
    assert line.endswith(f" more on disk in {pool.folder}")
    ask(epochs=4, run=open_run(progress=steps))
    assert "2 epochs of them to be trained" in steps.said[1]


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


def test_a_killed_batch_of_experts_goes_on(ask: Ask, open_run: OpenRun) -> None:
    engine = Engine("batched")
    expected = content(ask(cache="other", engine=engine))
    with pytest.raises(KeyboardInterrupt):
        ask(engine=engine, run=open_run(checkpoint_seconds=0.0, progress=Steps(die_after=2)))
    assert content(ask(engine=engine)) == expected


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
    halved = cost(train, RECIPES["mtt"], 4, 5, "bfloat16-differences")
    assert halved.disk_bytes == 4 * (4 + 5 * 2) * networks.parameter_count(network)


@pytest.fixture(autouse=True)
def no_stray_output(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing goes to stdout, where results belong."""
    yield
    assert capsys.readouterr().out == ""
