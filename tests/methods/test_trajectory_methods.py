"""One outer step of each trajectory method against its formula written out with plain autograd, and their kinship."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from condense import networks
from condense.augment import DSA, NoAugmentation
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.errors import Diverged
from condense.experts import AST, ExpertRecipe, Experts, experts
from condense.flat import FlatNetwork
from condense.matching import random_indices
from condense.methods import ast, datm, ftd, mtt, tesla
from condense.preprocessing import normalise
from condense.run import Run
from condense.trajectories import expert_in_turn, flat_recipe, initial

METHODS = {"mtt": mtt, "tesla": tesla, "ftd": ftd, "datm": datm, "ast": ast}
NETWORK = "convnet:width=3"
STEPS, EPOCHS, STARTS = 4, 2, 2  # N, M, T+
PLAIN: dict[str, Any] = {
    "steps": 1,
    "student_steps": STEPS,
    "expert_epochs": EPOCHS,
    "batch": 4,
    "lr_images": 10.0,
    "step_size": 0.05,
    "lr_step_size": 1e-4,
    "augment": False,
    "initial": "real",
    "experts": 2,
    "expert_batch": 12,
    "network": NETWORK,
    "preprocessing": "normalise",
}
SHORT = {**PLAIN, "start_epochs": STARTS, "expert_lr": 0.05}


@pytest.fixture(scope="module")
def train() -> Split:
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (24, 1, 8, 8), generator=draws, dtype=torch.uint8)
    return Split.from_arrays(images, torch.arange(24) % 3, ["a", "b", "c"])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


class Made(NamedTuple):
    result: DistilledSet
    run: Run  # closed; its generators can be asked again


@pytest.fixture
def distill(train: Split, cache: Path, tmp_path: Path) -> Callable[..., Made]:
    numbers = itertools.count()

    def made(method: ModuleType, **fields: Any) -> Made:
        with Run(tmp_path / str(next(numbers)), seed=0, cache_dir=cache) as run:
            return Made(method.distill(train, Budget(ipc=2), method.Config(**fields), run), run)

    return made


@pytest.fixture
def pool(train: Split, cache: Path, tmp_path: Path) -> Callable[..., Experts]:
    def opened(recipe: ExpertRecipe, epochs: int) -> Experts:
        with Run(tmp_path / "pool", seed=0, cache_dir=cache) as run:
            space = normalise(train.mean, train.std)
            return experts(train, space, recipe, count=2, epochs=epochs, run=run)

    return opened


def _rows(count: int, run: Run) -> list[Tensor]:
    """MTT's batches of four: a permutation in two chunks, the second short, then another permutation."""
    generator = run.rng("student", 0)
    return [chunk for _ in range(2) for chunk in torch.randperm(count, generator=generator).split(4)]


def _unrolled(
    network: FlatNetwork,
    start: Tensor,
    targets: Mapping[int, Tensor],
    images: Tensor,
    labels: Tensor,
    rows: Sequence[Tensor],
    step_size: Tensor,
    momentum: float = 0.0,
    scale: float = 1.0,
) -> Tensor:
    """The outer loss, with the whole training kept as one graph."""
    module = networks.build(NETWORK, images.shape[1:], 3)
    parts = [part.detach().clone().requires_grad_() for part in network.unflatten(start).values()]
    names = list(network.shapes)
    speeds = [torch.zeros_like(part) for part in parts]
    loss = torch.zeros(())
    for step, batch in enumerate(rows):
        logits = functional_call(module, dict(zip(names, parts, strict=True)), (images[batch],))
        inner = scale * cross_entropy(logits, labels[batch])
        grads = torch.autograd.grad(inner, parts, create_graph=True)
        speeds = [momentum * speed + grad for speed, grad in zip(speeds, grads, strict=True)]
        parts = [part - step_size * speed for part, speed in zip(parts, speeds, strict=True)]
        if step + 1 in targets:
            target = targets[step + 1]
            end = torch.cat([part.flatten() for part in parts])
            loss = loss + ((end - target) ** 2).sum() / ((start - target) ** 2).sum()
    return loss


def _initial(train: Split, run: Run) -> Tensor:
    """The images before the first step, from the same draws."""
    rows = random_indices(train, [2, 2, 2], run.rng("initial"))
    return normalise(train.mean, train.std).forward(train.take(rows))


LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def _check_step(made: Made, images: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """The result is one step of SGD from `images` and 0.05 on this loss."""
    images = images.clone().requires_grad_()
    step_size = torch.tensor(0.05, requires_grad=True)
    slopes = torch.autograd.grad(loss(images, step_size), (images, step_size))
    moved = (made.result.images - images).detach()
    # float32, and another order of summation through eight matrix products in a chain.
    torch.testing.assert_close(moved, -10.0 * slopes[0], rtol=1e-3, atol=1e-5)
    assert made.result.step_size == pytest.approx(0.05 - 1e-4 * slopes[1].item(), rel=1e-6)
    assert abs(1e-4 * slopes[1].item()) > 1e-6, "the step size must move for this to test anything"


def _plain_pool(pool: Callable[..., Experts]) -> Experts:
    return pool(ExpertRecipe(NETWORK, 0.05, 12, augment={"kind": "none"}), EPOCHS + STARTS - 1)


def _drawn(run: Run) -> tuple[int, int]:
    """Expert and start epoch of the first step."""
    return expert_in_turn(2, 0, run.rng), int(torch.randint(STARTS, (1,), generator=run.rng("start", 0)))


def test_a_step_of_mtt_is_the_gradient_of_the_normalised_distance(
    train: Split, distill: Callable[..., Made], pool: Callable[..., Experts]
) -> None:
    made = distill(mtt, **SHORT)
    given = _plain_pool(pool)
    expert, start = _drawn(made.run)
    rows = _rows(6, made.run)
    assert [len(batch) for batch in rows] == [4, 2, 4, 2]

    def loss(images: Tensor, step_size: Tensor) -> Tensor:
        targets = {STEPS: given.at(expert, start + EPOCHS)}
        return _unrolled(given.network, given.at(expert, start), targets, images, LABELS, rows, step_size)

    _check_step(made, _initial(train, made.run), loss)


def test_a_step_of_tesla_is_its_own_formula_with_the_experts_labels(
    train: Split, distill: Callable[..., Made], pool: Callable[..., Experts]
) -> None:
    made = distill(tesla, **SHORT)
    given = _plain_pool(pool)
    expert, start = _drawn(made.run)
    first, target = given.at(expert, start), given.at(expert, start + EPOCHS)
    images, rows = _initial(train, made.run).requires_grad_(), _rows(6, made.run)
    labels = given.network.call(target, images).softmax(1).detach()
    path, total = [first], torch.zeros_like(first)
    for batch in rows:  # pass 1: G
        at = path[-1].clone().requires_grad_()
        (slope,) = torch.autograd.grad(cross_entropy(given.network.call(at, images[batch]), labels[batch]), at)
        path.append(path[-1] - 0.05 * slope)
        total += slope
    gap = ((first - target) ** 2).sum()
    expected = torch.zeros_like(images)
    for batch, at in zip(rows, path, strict=False):  # pass 2: s_k
        at = at.clone().requires_grad_()
        inner = cross_entropy(given.network.call(at, images[batch]), labels[batch])
        (slope,) = torch.autograd.grad(inner, at, create_graph=True)
        share = 2 / gap * ((0.05 * (target - first) + 0.05**2 * total) @ slope)
        expected += torch.autograd.grad(share, images)[0]
    torch.testing.assert_close(made.result.images - images.detach(), -10.0 * expected, rtol=1e-3, atol=1e-5)
    slope_size = -2 * total @ (first - 0.05 * total - target) / gap
    assert made.result.step_size == pytest.approx(0.05 - 1e-4 * slope_size.item(), rel=1e-6)


def test_a_step_of_ast_has_momentum_a_weight_a_disturbed_start_and_a_match_on_the_way(
    train: Split, distill: Callable[..., Made], pool: Callable[..., Experts]
) -> None:
    config = ast.Config(**SHORT, epochs=3, clipping_epochs=2)
    made = distill(ast, **SHORT, epochs=3, clipping_epochs=2)

    given = pool(ast.recipe(config, NoAugmentation()), 3)
    expert, start = _drawn(made.run)
    named = given.network.unflatten(given.at(expert, start))
    noise = made.run.rng("perturbation", 0)
    moved = {}
    for name, weight in named.items():
        moved[name] = weight
        if weight.ndim == 4:
            draw = torch.randn(weight.shape, generator=noise)
            moved[name] = weight * (1 + draw / draw.norm())
    targets = {STEPS // EPOCHS: given.at(expert, start + 1), STEPS: given.at(expert, start + 2)}
    scale = {0: 1 / math.log(1 + 8, 5), 1: math.log(8, 5)}[start]  # T+ = 2, so h = 1
    rows = _rows(6, made.run)

    def loss(images: Tensor, step_size: Tensor) -> Tensor:
        begin = given.network.flatten(moved)
        return _unrolled(given.network, begin, targets, images, LABELS, rows, step_size, 0.9, scale)

    _check_step(made, _initial(train, made.run), loss)


def test_the_disturbance_of_ast_is_measured_by_the_segment(pool: Callable[..., Experts]) -> None:
    given = _plain_pool(pool)
    config = ast.Config(student_steps=4, expert_epochs=2, perturbation=0.5)
    segment = ast.segment_of(given, 0, 0, config, torch.Generator().manual_seed(0))
    clean, end = given.at(0, 0), given.at(0, 2)
    ratio = (segment.start - clean).square().sum().sqrt() / (end - clean).square().sum().sqrt()
    torch.testing.assert_close(ast.disturbance(segment, clean), ratio)
    assert ratio > 0


def test_experts_are_asked_once_for_the_start(
    distill: Callable[..., Made], train: Split, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished choice is read, not made again: DATM looks at every image with every expert, AST clusters."""

    def again(*arguments: Any) -> None:
        raise AssertionError("an expert was asked again")

    starts: dict[str, dict[str, Any]] = {
        "datm": {"last_start": STARTS, "first_start": 1},
        "ast": {"start_epochs": STARTS},
    }
    for name, home, asked in (("datm", initial, "correctly_classified"), ("ast", ast, "representative")):
        method = METHODS[name]
        fields = {name: value for name, value in PLAIN.items() if name != "initial"}
        config = method.Config(**fields, **starts[name], epochs=3, expert_lr=0.05)
        results = []
        for patched in (False, True):
            if patched:
                monkeypatch.setattr(home, asked, again)
            with Run(tmp_path / name, seed=0, cache_dir=cache) as run:
                results.append(method.distill(train, Budget(ipc=2), config, run))
        assert torch.equal(results[0].images, results[1].images)


def test_the_balance_of_ast_jumps_at_half_of_the_window() -> None:
    assert ast.balance(9, 20) == pytest.approx(0.7325, abs=5e-5)  # 1 / log_5(9), at h - 1
    assert ast.balance(10, 20) == pytest.approx(1.2920, abs=5e-5)  # log_5(8), at h
    assert ast.balance(0, 20) == pytest.approx(1 / math.log(18, 5))
    assert ast.balance(19, 20) == pytest.approx(math.log(17, 5))


def test_with_three_epochs_ast_matches_at_each_third_rounded_down(pool: Callable[..., Experts]) -> None:
    given = _plain_pool(pool)
    config = ast.Config(student_steps=20, expert_epochs=3, perturbation=0.0, intermediate=0.5)
    segment = ast.segment_of(given, 0, 0, config, torch.Generator())
    assert [(match.after, match.weight) for match in segment.matches] == [(20, 1.0), (6, 0.5), (12, 0.5)]
    assert torch.equal(segment.start, given.at(0, 0))
    for match, epoch in zip(segment.matches, (3, 1, 2), strict=True):
        assert torch.equal(match.target, given.at(0, epoch))


def test_the_experts_of_ast_follow_the_authors_command() -> None:
    assert ast.recipe(ast.Config(), DSA(align_corners=True)) == AST


def test_ftd_without_its_ingredients_is_mtt(distill: Callable[..., Made]) -> None:
    fields = {**SHORT, "steps": 2}
    ours, theirs = distill(ftd, **fields, rho=0.0, ema_decay=0.0).result, distill(mtt, **fields).result
    assert torch.equal(ours.images, theirs.images)
    assert ours.step_size == theirs.step_size


def test_datm_without_its_ingredients_is_mtt(distill: Callable[..., Made]) -> None:
    off = {"labels": "hard", "sequential": False, "rho": 0.0, "threshold": None, "epochs": 1, "expert_lr": 0.05}
    ours = distill(datm, **{**PLAIN, **off, "steps": 2, "last_start": STARTS, "first_start": 1}).result
    theirs = distill(mtt, **{**SHORT, "steps": 2}).result
    assert torch.equal(ours.images, theirs.images)


def test_ftd_returns_the_average_of_the_images(distill: Callable[..., Made], train: Split) -> None:
    last = distill(ftd, **SHORT, ema_decay=0.0)
    first = _initial(train, last.run)
    average = distill(ftd, **SHORT, ema_decay=0.75).result.images
    torch.testing.assert_close(average, 0.75 * first + 0.25 * last.result.images)


def test_the_average_is_the_formula_and_its_correction_takes_the_start_out() -> None:
    images = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    average = images[0].clone()
    for row in images[1:]:
        ftd.move_average(average, row, 0.9)
    weights = torch.tensor([0.9**3, 0.1 * 0.81, 0.1 * 0.9, 0.1], dtype=torch.float64)
    torch.testing.assert_close(average, weights @ images)
    without = weights[1:] / (1 - 0.9**3)
    torch.testing.assert_close(ftd.without_start(average, images[0], 0.9, 3), without @ images[1:])
    assert torch.equal(ftd.without_start(images[0], images[0], 0.9, 0), images[0])


def test_the_labels_of_datm_are_learned_through_the_softmax(
    train: Split, distill: Callable[..., Made], pool: Callable[..., Experts]
) -> None:
    """Three quantities move by their own step sizes, in one step."""
    fields = {**PLAIN, "last_start": STARTS, "first_start": 1, "expert_lr": 0.05, "epochs": 3, "lr_labels": 3.0}
    made = distill(datm, **fields)

    given = pool(flat_recipe(NETWORK, 0.05, 12, NoAugmentation(), 0.01, 0.3), 3)
    images = _initial(train, made.run)
    logits = given.network.call(given.at(0, 3), images).detach().requires_grad_()  # initial="real": of one expert
    expert = expert_in_turn(2, 0, made.run.rng)
    targets = {STEPS: given.at(expert, EPOCHS)}  # T = 1: the window holds epoch 0 alone

    def loss(images: Tensor, step_size: Tensor) -> Tensor:
        rows = _rows(6, made.run)
        return _unrolled(given.network, given.at(expert, 0), targets, images, logits.softmax(1), rows, step_size)

    _check_step(made, images, loss)
    (slope,) = torch.autograd.grad(loss(images, torch.tensor(0.05)), logits)
    learned = (logits - 3.0 * slope).detach()
    torch.testing.assert_close(made.result.labels.values, learned, rtol=1e-4, atol=1e-6)
    others = int((learned.argmax(1) != LABELS).sum())
    assert others > 0, "an expert of three epochs is wrong somewhere, or this tests nothing"
    assert made.result.provenance["flags"]["labels_of_another_class"] == others


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_learned_nothing_is_no_set(name: str, distill: Callable[..., Made]) -> None:
    starts = {"last_start": STARTS, "first_start": 1, "epochs": 3} if name == "datm" else {"start_epochs": STARTS}
    with pytest.raises(Diverged, match="all 1 steps were rejected, so that nothing was learned"):
        distill(METHODS[name], **{**PLAIN, **starts, "threshold": 1e-6})


def test_the_start_of_datm_is_recognised_by_an_expert(
    distill: Callable[..., Made], pool: Callable[..., Experts]
) -> None:
    fields = {**PLAIN, "initial": "correct", "steps": 0, "last_start": STARTS, "first_start": 1, "epochs": 6}
    made = distill(datm, **fields, expert_lr=0.3)
    labels = made.result.labels.values
    assert torch.equal(labels.argmax(1), LABELS)
    assert made.result.provenance["flags"]["unrecognised_images"] == 0
