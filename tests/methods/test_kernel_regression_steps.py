"""FRePo and KRR-ST over several steps, against their loops written out plainly in float64.

Two networks, both of which are chosen; large rates, so that a schedule, an online update, or the order of the two that
is not the stated one moves what is learned far beyond rounding.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from condense import networks
from condense.budget import Budget
from condense.data import Split
from condense.lamb import Lamb
from condense.matching import initial_images
from condense.methods import frepo, krr_st
from condense.networks import Network
from condense.pool import Pool
from condense.preprocessing import fit
from condense.run import Run
from condense.self_supervised import teacher_for

IPC, CLASSES, REAL, STEPS, RIDGE = 2, 3, 8, 4, 1e-2
SEED, MEMBERS = 14, [0, 1, 1, 0]  # which the seed chooses: both, and each again after its update
AGREES, DIFFERS = 0.8, 0.5  # shares of entries; 0.88 with two threads, 0.97 with one, below 0.1 with a part left out
Learned = tuple[Tensor, Tensor]  # images, targets

FREPO = frepo.Config(
    steps=STEPS,
    lr=0.3,
    real_batch=REAL,
    ridge=RIDGE,
    pool=2,
    online_updates=9,
    online_batch=4,
    online_lr=0.05,
    network="convnet-d2:width=4,growth=2,norm=batch,norm_at=input",
    preprocessing="normalise",
)
KRR = krr_st.Config(
    steps=STEPS,
    lr_images=1.0,
    lr_targets=0.1,
    real_batch=REAL,
    ridge=RIDGE,
    augment=False,
    pool=2,
    inner_steps=9,
    inner_lr=0.3,
    inner_decay=0.1,
    network="convnet-d2:width=4,growth=2,norm=batch",
    teacher_network="convnet-d2:width=4,norm=batch",
    teacher_epochs=1,
    teacher_projector=8,
)


@pytest.fixture(scope="module")
def train() -> Split:
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(30) % CLASSES
    pixels = torch.randint(0, 120, (30, 1, 8, 8), generator=generator) + 60 * labels[:, None, None, None]
    return Split.from_arrays(pixels.to(torch.uint8), labels, ["a", "b", "c"], flips=False)


def ridge_prediction(support: Tensor, targets: Tensor, queries: Tensor, strength: Tensor) -> Tensor:
    """K_ts (K_ss + r I)^-1 Y_s with an inverse."""
    gram = support @ support.T
    return queries @ support.T @ torch.linalg.inv(gram + strength * torch.eye(len(gram))) @ targets


def network_of(name: str, train: Split, outputs: int, generator: torch.Generator, statistics: float) -> Network:
    """In float64, from the same draws as in float32."""
    network = networks.build(name, train.shape, outputs, generator).double().eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = statistics
    return network


def regression_update(network: Network, optimiser: Any, images: Tensor, targets: Tensor) -> None:
    network.train()
    optimiser.zero_grad()
    ((network(images.detach()) - targets.detach()) ** 2).mean().backward()
    optimiser.step()
    network.eval()


# ---------------------------------------------------------------------------------------------------------------- FRePo


def narrow_labels(labels: Tensor, n_classes: int) -> Tensor:
    """Labels whose largest entry is 0.1 ahead of the others: less than 1/K."""
    return 0.1 * (nn.functional.one_hot(labels, n_classes) - 1 / n_classes)


def frepo_made(train: Split, folder: Path, **changes: Any) -> Learned:
    with Run(folder, seed=SEED) as run, mock.patch.object(frepo, "initial_targets", narrow_labels):
        made = frepo.distill(train, Budget(ipc=IPC), dataclasses.replace(FREPO, **changes), run)
    assert made.images is not None
    return made.images, made.labels.tensors()["labels_soft"]


@pytest.fixture(scope="module")
def frepo_written_out(train: Split, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    with Run(tmp_path_factory.mktemp("frepo"), seed=SEED) as run:
        space = fit("normalise", train)
        start, labels = initial_images(train, Budget(ipc=IPC), space, run.rng("initial"), "real")
        images, targets = start.double(), narrow_labels(labels, CLASSES).double()
        outer = Lamb([images.requires_grad_(), targets.requires_grad_()], lr=FREPO.lr)
        drawn = [run.rng("network", index) for index in range(2)]
        members = [network_of(FREPO.network, train, CLASSES, rng, FREPO.statistics) for rng in drawn]
        inner = [torch.optim.Adam(member.parameters(), lr=FREPO.online_lr) for member in members]
        answers = nn.functional.one_hot(train.labels, CLASSES) - 1 / CLASSES
        for step, member in enumerate(MEMBERS):
            for group in outer.param_groups:
                group["lr"] = FREPO.lr * (0.1 + 0.9 * (1 + math.cos(math.pi * step / STEPS)) / 2)
            rows = torch.randperm(30, generator=run.rng("real", step))[:REAL]
            support = members[member].embed(images)
            queries = members[member].embed(space.forward(train.take(rows)).double()).detach()
            strength = RIDGE * (support @ support.T).trace() / len(support)
            error = ridge_prediction(support, targets, queries, strength) - answers[rows].double()
            first, second = targets.sort(dim=1, descending=True).values[:, :2].unbind(1)
            loss = 0.5 * (error**2).sum(1).mean() - torch.minimum(first - second, torch.tensor(1 / CLASSES)).mean()
            outer.zero_grad()
            loss.backward(inputs=[images, targets])
            outer.step()
            sample = torch.randperm(len(images), generator=run.rng("online", step))[: FREPO.online_batch]
            regression_update(members[member], inner[member], images[sample], targets[sample])
    return images.detach(), targets.detach()


def test_networks_of_frepo_are_of_spread_ages_and_grow_one_update_older_than_their_limit(
    train: Split, tmp_path: Path
) -> None:
    """As the authors' code counts: ten networks that start at 0, 10, ... 90 of 100, and are replaced above 100."""
    config = dataclasses.replace(FREPO, pool=10, online_updates=100)
    with Run(tmp_path / "run", seed=0) as run:
        pool = frepo._pool(train, config, run)
    assert pool.ages == list(range(0, 100, 10))
    images, targets = torch.randn(4, *train.shape), torch.randn(4, CLASSES)
    for age in range(91, 102):
        pool.advance(9, images, targets, torch.Generator())
        assert pool.ages[9] == age
    old = pool.members[9].classifier.weight.clone()
    pool.advance(9, images, targets, torch.Generator().manual_seed(1))
    assert pool.ages[9] == 0
    fresh = networks.build(config.network, train.shape, CLASSES, torch.Generator().manual_seed(1)).classifier.weight
    assert torch.equal(pool.members[9].classifier.weight, fresh)
    assert not torch.equal(fresh, old)


# --------------------------------------------------------------------------------------------------------------- KRR-ST


def krr_made(train: Split, folder: Path, **changes: Any) -> Learned:
    with Run(folder, seed=SEED) as run:
        made = krr_st.distill(train.unlabelled(), Budget(ipc=IPC), dataclasses.replace(KRR, **changes), run)
    assert made.images is not None
    return made.images, made.labels.tensors()["targets_repr"]


@pytest.fixture(scope="module")
def krr_written_out(train: Split, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    hidden = train.unlabelled()
    with Run(tmp_path_factory.mktemp("krr"), seed=SEED) as run:
        space, teacher = fit("normalise", hidden), teacher_for(hidden, KRR, run)
        rows = torch.randperm(30, generator=run.rng("initial"))[: IPC * CLASSES]
        start = space.forward(hidden.take(rows))
        images, targets = start.double(), teacher.embed(start).double()
        rates = (KRR.lr_images, KRR.lr_targets)
        outer = torch.optim.AdamW([{"params": [part.requires_grad_()]} for part in (images, targets)], weight_decay=0)
        drawn = [run.rng("network", index) for index in range(2)]
        members = [network_of(KRR.network, hidden, targets.shape[1], rng, 0.1) for rng in drawn]

        inner = [torch.optim.SGD(m.parameters(), lr=0.3, momentum=0.9, weight_decay=0.1) for m in members]
        updates = torch.randint(1, KRR.inner_steps, (2,), generator=run.rng("starts")).tolist()
        for member, count in enumerate(updates):
            for _ in range(count):
                regression_update(members[member], inner[member], images, targets)
        for step, member in enumerate(MEMBERS):
            for group, rate in zip(outer.param_groups, rates, strict=True):
                group["lr"] = rate * (1 + (1e-3 - 1) * step / STEPS)
            real = space.forward(hidden.take(torch.randperm(30, generator=run.rng("real", step))[:REAL]))
            described = members[member].embed(images), members[member].embed(real.double()).detach()
            support, queries = (torch.cat([part, torch.ones(len(part), 1)], 1) for part in described)
            strength = RIDGE * (support @ support.T).trace().detach()
            error = ridge_prediction(support, targets, queries, strength) - teacher.embed(real).double()
            outer.zero_grad()
            (error**2).mean().backward(inputs=[images, targets])
            outer.step()
            regression_update(members[member], inner[member], images, targets)
    return images.detach(), targets.detach()


# ------------------------------------------------------------------------------------------------------------ agreement


def share_that_agrees(made: Learned, written_out: Learned) -> float:
    """The smaller share, of images and of targets, of entries that are equal but for rounding.

    Adam's first step is the sign of the gradient, so that entries next to zero may go either way in float32.
    """
    pairs = zip(made, written_out, strict=True)
    return min(
        float(torch.isclose(ours.double(), theirs, rtol=2e-3, atol=2e-3).double().mean()) for ours, theirs in pairs
    )


def test_the_loop_of_frepo_is_the_one_written_out(train: Split, frepo_written_out: Learned, tmp_path: Path) -> None:
    assert share_that_agrees(frepo_made(train, tmp_path), frepo_written_out) > AGREES


def test_the_loop_of_krr_st_is_the_one_written_out(train: Split, krr_written_out: Learned, tmp_path: Path) -> None:
    assert share_that_agrees(krr_made(train, tmp_path), krr_written_out) > AGREES


def ignored(*_: Any, **__: Any) -> None:
    """In place of what a loop must not leave out."""


def first_member(pool: Pool, generator: torch.Generator) -> int:
    return 0


def at_first_rates(step: Callable[..., Any]) -> Callable[..., Any]:
    """AdamW's step with the rates of the configuration, whatever the schedule says."""

    @functools.wraps(step)
    def constant(optimiser: torch.optim.AdamW) -> Any:
        for group, rate in zip(optimiser.param_groups, (KRR.lr_images, KRR.lr_targets), strict=True):
            group["lr"] = rate
        return step(optimiser)

    return constant


@pytest.mark.parametrize(
    ("owner", "name", "replacement", "changes"),
    [
        pytest.param(frepo, "set_rate", ignored, {}, id="constant-rate"),
        pytest.param(Pool, "advance", ignored, {}, id="no-online-update"),
        pytest.param(Pool, "choose", first_member, {}, id="first-member"),
        pytest.param(frepo, "ABOUT", frepo.ABOUT, {"label_margin": 0.0}, id="no-margin"),
        pytest.param(frepo, "ABOUT", frepo.ABOUT, {"online_lr": 0.0}, id="no-online-rate"),
    ],
)
def test_a_loop_of_frepo_that_leaves_a_part_out_is_told_apart(
    owner: Any,
    name: str,
    replacement: Any,
    changes: dict[str, Any],
    train: Split,
    frepo_written_out: Learned,
    tmp_path: Path,
) -> None:
    with mock.patch.object(owner, name, replacement):
        made = frepo_made(train, tmp_path, **changes)
    assert share_that_agrees(made, frepo_written_out) < DIFFERS


@pytest.mark.parametrize(
    ("owner", "name", "replacement", "changes"),
    [
        pytest.param(torch.optim.AdamW, "step", at_first_rates(torch.optim.AdamW.step), {}, id="constant-rate"),
        pytest.param(Pool, "advance", ignored, {}, id="no-online-update"),
        pytest.param(Pool, "choose", first_member, {}, id="first-member"),
        pytest.param(krr_st, "ABOUT", krr_st.ABOUT, {"inner_momentum": 0.0}, id="no-momentum"),
        pytest.param(krr_st, "ABOUT", krr_st.ABOUT, {"inner_decay": 0.0}, id="no-decay"),
    ],
)
def test_a_loop_of_krr_st_that_leaves_a_part_out_is_told_apart(
    owner: Any,
    name: str,
    replacement: Any,
    changes: dict[str, Any],
    train: Split,
    krr_written_out: Learned,
    tmp_path: Path,
) -> None:
    with mock.patch.object(owner, name, replacement):
        made = krr_made(train, tmp_path, **changes)
    assert share_that_agrees(made, krr_written_out) < DIFFERS
