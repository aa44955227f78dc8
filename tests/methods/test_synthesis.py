"""DM, DataDAM and DC: a step against the formula written out plainly, and the invariants of their losses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from condense import networks
from condense.budget import Budget
from condense.data import Split
from condense.matching import RealBatches, averaging, gradient_distance, initial_images, spatial_attention
from condense.methods import datadam, dc, dm
from condense.preprocessing import Preprocessing, fit
from condense.run import Run

IPC, CLASSES, REAL = 2, 3, 4


@pytest.fixture
def train() -> Split:
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(30) % CLASSES
    pixels = torch.randint(0, 120, (30, 1, 8, 8), generator=generator) + 60 * labels[:, None, None, None]
    return Split.from_arrays(pixels.to(torch.uint8), labels, ["a", "b", "c"], flips=False)


def _one_step(method: Any, config: Any, train: Split, folder: Path) -> tuple[Tensor, Run]:
    with Run(folder, seed=5) as run:
        return method.distill(train, Budget(ipc=IPC), config, run).images, run


def _start(train: Split, run: Run) -> tuple[Tensor, Tensor, Tensor, Preprocessing]:
    """Images, labels and the real batch (K, B, C, H, W) of step 0, as the methods draw them."""
    space = fit("normalise", train)
    images, labels = initial_images(train, Budget(ipc=IPC), space, run.rng("initial"), "real")
    return images, labels, RealBatches(train, space).draw(REAL, run.rng("real", 0)), space


def test_a_step_of_dm_descends_the_gap_of_class_means(train: Split, tmp_path: Path) -> None:
    config = dm.Config(steps=1, lr_images=0.3, real_batch=REAL, augment=False, network="convnet:width=4")
    result, run = _one_step(dm, config, train, tmp_path)
    images, labels, real, _ = _start(train, run)
    network = networks.build("convnet:width=4", train.shape, CLASSES, run.rng("network", 0))
    images.requires_grad_()
    loss = torch.zeros(())
    for label in range(CLASSES):  # class by class, as the published loop
        gap = network.embed(real[label]).mean(0) - network.embed(images[labels == label]).mean(0)
        loss = loss + (gap**2).sum()
    (gradient,) = torch.autograd.grad(loss, images)
    # float32: the class means are summed in another order.
    torch.testing.assert_close(result, images.detach() - 0.3 * gradient, rtol=1e-4, atol=1e-5)


def test_a_step_of_datadam_descends_attention_and_embedding(train: Split, tmp_path: Path) -> None:
    config = datadam.Config(
        steps=1,
        lr_images=0.01,
        real_batch=REAL,
        augment=False,
        network="convnet:width=4,norm=batch",
        preprocessing="normalise",
    )
    result, run = _one_step(datadam, config, train, tmp_path)
    images, labels, real, _ = _start(train, run)
    network = networks.build(config.network, train.shape, CLASSES, run.rng("network", 0))
    images.requires_grad_()
    truth, ours = network.activations(real.flatten(0, 1)), network.activations(images)
    sam, mmd = torch.zeros(()), torch.zeros(())
    for label in range(CLASSES):
        rows = slice(label * REAL, (label + 1) * REAL)
        for layer in range(len(truth.maps) - 1):
            means = []
            for maps in (truth.maps[layer][rows], ours.maps[layer][labels == label]):
                attention = (maps**4).sum(1).flatten(1)
                means.append((attention / attention.norm(dim=1, keepdim=True)).mean(0))
            sam = sam + ((means[0] - means[1]) ** 2).sum()
        gap = truth.embedding[rows].mean(0) - ours.embedding[labels == label].mean(0)
        mmd = mmd + (gap**2).sum()
    (gradient,) = torch.autograd.grad(100 * (sam + 0.01 * mmd), images)
    torch.testing.assert_close(result, images.detach() - 0.01 * gradient, rtol=1e-3, atol=1e-4)


def test_datadam_without_attention_is_dm_with_another_step_size(train: Split, tmp_path: Path) -> None:
    shared = {"steps": 3, "real_batch": REAL, "network": "convnet:width=4", "preprocessing": "normalise"}
    attention_off = datadam.Config(**shared, lr_images=0.1, attention_weight=0.0, balance=0.01)
    ours, _ = _one_step(datadam, attention_off, train, tmp_path / "datadam")
    theirs, _ = _one_step(dm, dm.Config(**shared, lr_images=0.1), train, tmp_path / "dm")  # 100 * 0.01 = 1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_attention_means_vanish_between_a_batch_and_itself(train: Split) -> None:
    images = fit("normalise", train).forward(train.take(torch.arange(30)))
    network = networks.build("convnet:width=4,norm=batch", train.shape, CLASSES)
    means = averaging(train.labels, CLASSES)
    first, second = (datadam.attention_means(network, images, means, 4.0) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.maps, second.maps, strict=True))
    assert len(first.maps) == len(network.activations(images).maps) - 1  # the last layer is left to the embedding
    torch.testing.assert_close(
        first.maps[0][1], spatial_attention(network.activations(images).maps[0], 4.0)[train.labels == 1].mean(0)
    )


def test_a_step_of_dc_turns_the_gradients_of_each_class(train: Split, tmp_path: Path) -> None:
    config = dc.Config(
        initialisations=1, matches=1, network_epochs=1, real_batch=REAL, initial="real", network="convnet:width=4"
    )
    result, run = _one_step(dc, config, train, tmp_path)
    images, labels, real, _ = _start(train, run)
    network = networks.build("convnet:width=4", train.shape, CLASSES, run.rng("network", 0))
    parameters = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    images.requires_grad_()
    distance = torch.zeros(())
    for label in range(CLASSES):
        both = []
        for batch in (real[label], images[labels == label]):
            loss = cross_entropy(network(batch), torch.full((len(batch),), label))
            both.append(torch.autograd.grad(loss, parameters, create_graph=True))
        for theirs, ours in zip(*both, strict=True):
            cosine = torch.nn.functional.cosine_similarity(theirs.detach().flatten(1), ours.flatten(1), dim=1, eps=0)
            distance = distance + (1 - cosine).sum()
    (gradient,) = torch.autograd.grad(distance, images)
    torch.testing.assert_close(result, images.detach() - 0.1 * gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_network_of_dc_keeps_its_velocity_between_matches_and_loses_it_with_its_weights(
    train: Split, tmp_path: Path, momentum: float
) -> None:
    config = dc.Config(
        initialisations=2, matches=3, network_epochs=2, lr_network=0.2, momentum_network=momentum, real_batch=REAL,
        initial="real", network="convnet:width=4", momentum=0.0,
    )  # fmt: skip
    result, run = _one_step(dc, config, train, tmp_path)
    images, labels, _, space = _start(train, run)
    network = networks.build("convnet:width=4", train.shape, CLASSES)
    parameters = list(network.parameters())
    for step in range(6):
        if step % 3 == 0:
            networks.initialise(network, run.rng("network", step))
            velocity = [torch.zeros_like(parameter) for parameter in parameters]
        images.requires_grad_()
        distance = torch.zeros(())
        for label, batch in enumerate(RealBatches(train, space).draw(REAL, run.rng("real", step))):
            theirs, ours = (
                dc.gradients(network, each, label, create_graph=True) for each in (batch, images[labels == label])
            )
            distance = distance + gradient_distance([each.detach() for each in theirs], ours)
        (gradient,) = torch.autograd.grad(distance, images)
        images = images.detach() - 0.1 * gradient
        for _ in range(2):  # v <- mu v + g, theta <- theta - eta v, on all images at once
            found = torch.autograd.grad(cross_entropy(network(images), labels), parameters)
            for parameter, kept, each in zip(parameters, velocity, found, strict=True):
                kept.mul_(momentum).add_(each)
                parameter.data.sub_(0.2 * kept)
    # float32: each batch is summed in an order of its own.
    torch.testing.assert_close(result, images, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("matches", "trainings"), [(1, 0), (3, 4)])
def test_dc_does_not_train_a_network_that_nothing_is_matched_on(
    train: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, matches: int, trainings: int
) -> None:
    calls = []
    monkeypatch.setattr(dc, "descend", lambda *given: calls.append(given))
    config = dc.Config(
        initialisations=2, matches=matches, network_epochs=1, real_batch=REAL, initial="real", network="mlp:width=4"
    )
    _one_step(dc, config, train, tmp_path)
    assert len(calls) == trainings
    alone = dc.cost(train, Budget(ipc=IPC), dataclasses.replace(config, network_epochs=0)).operations
    forward = networks.operations(networks.build("mlp:width=4", train.shape, CLASSES), train.shape)
    spent = dc.cost(train, Budget(ipc=IPC), config).operations - alone
    assert spent == pytest.approx(3 * forward * IPC * CLASSES * trainings)
