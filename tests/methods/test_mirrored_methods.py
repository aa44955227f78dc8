"""FYI in DM, DataDAM and DC: steps against plainly written mirrored batches, and the two switches apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from condense import networks
from condense.augment import DSA
from condense.budget import Budget
from condense.data import Split
from condense.errors import BadInput
from condense.matching import RealBatches, initial_images
from condense.methods import datadam, dc, dm
from condense.preprocessing import fit
from condense.run import Run

IPC, CLASSES, REAL = 2, 3, 4
METHODS = {
    "dm": (dm, dm.Config(steps=2, real_batch=REAL, network="convnet:width=4")),
    "datadam": (
        datadam,
        datadam.Config(steps=2, real_batch=REAL, network="convnet:width=4,norm=batch", preprocessing="normalise"),
    ),
    "dc": (
        dc,
        dc.Config(
            initialisations=1, matches=2, network_epochs=1, real_batch=REAL, augment=True, network="convnet:width=4"
        ),
    ),
}
every = pytest.mark.parametrize(("method", "config"), METHODS.values(), ids=METHODS)


@pytest.fixture
def train() -> Split:
    """Noisy ramps, which a mirror image changes, of classes that it is said to keep."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(30) % CLASSES
    ramp = 10 * torch.arange(8) + 50 * labels[:, None, None, None]
    pixels = torch.randint(0, 60, (30, 1, 8, 8), generator=generator) + ramp
    return Split.from_arrays(pixels.to(torch.uint8), labels, ["a", "b", "c"])


@pytest.fixture
def distilled(train: Split, tmp_path: Path) -> Callable[..., Tensor]:
    names = itertools.count()

    def images_of(method: Any, config: Any) -> Tensor:
        with Run(tmp_path / str(next(names)), seed=5) as run:
            return method.distill(train, Budget(ipc=IPC), config, run).images

    return images_of


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The source of the draws that a distillation of this seed makes."""
    return Run(tmp_path / "draws", seed=5)


def both(images: Tensor) -> Tensor:
    return torch.cat([images, images.flip(3)])


def test_a_step_of_mirrored_dm_matches_means_over_images_and_their_mirrors(
    train: Split, distilled: Callable[..., Tensor], run: Run
) -> None:
    config = dm.Config(steps=1, lr_images=0.3, real_batch=REAL, mirror=True, flip_first=True, network="convnet:width=4")
    space = fit("normalise", train)
    images, labels = initial_images(train, Budget(ipc=IPC), space, run.rng("initial"), "real")
    real = RealBatches(train, space).draw(REAL, run.rng("real", 0))
    network = networks.build("convnet:width=4", train.shape, CLASSES, run.rng("network", 0))
    augment = DSA(one_op_per="sample", flip_first=True)
    draw = augment.draw(CLASSES, train.shape, run.rng("augment", 0))
    images.requires_grad_()
    loss = torch.zeros(())
    for label in range(CLASSES):
        shared = [draw.take(torch.full((count,), label)) for count in (REAL, 2 * IPC)]
        truth = network.embed(augment.apply(real[label], shared[0])).mean(0)
        ours = network.embed(augment.apply(both(images[labels == label]), shared[1])).mean(0)
        loss = loss + ((truth - ours) ** 2).sum()
    (gradient,) = torch.autograd.grad(loss, images)
    # float32: the class means are summed in another order.
    torch.testing.assert_close(distilled(dm, config), images.detach() - 0.3 * gradient, rtol=1e-4, atol=1e-5)


def test_a_step_of_mirrored_datadam_matches_attention_and_means_over_images_and_their_mirrors(
    train: Split, distilled: Callable[..., Tensor], run: Run
) -> None:
    config = datadam.Config(
        steps=1, lr_images=0.3, real_batch=REAL, mirror=True, flip_first=True, balance=0.02,
        network="convnet-d2:width=4", preprocessing="normalise",
    )  # fmt: skip
    space = fit("normalise", train)
    images, labels = initial_images(train, Budget(ipc=IPC), space, run.rng("initial"), config.initial)
    real = RealBatches(train, space).draw(REAL, run.rng("real", 0))
    network = networks.build(config.network, train.shape, CLASSES, run.rng("network", 0))
    augment = DSA(one_op_per="sample", flip_first=True)
    draw = augment.draw(CLASSES, train.shape, run.rng("augment", 0))
    images.requires_grad_()
    order = torch.cat([(labels == label).nonzero().flatten() for label in range(CLASSES)])
    ours = torch.cat([both(images[order[labels[order] == label]]) for label in range(CLASSES)])

    def described(batch: Tensor, each: int) -> tuple[list[Tensor], Tensor]:
        shared = draw.take(torch.arange(CLASSES).repeat_interleave(each))
        found = network.activations(augment.apply(batch, shared))
        maps = [layer.abs().pow(config.power).sum(1).flatten(1) for layer in found.maps[:-1]]
        maps = [(layer / layer.norm(dim=1, keepdim=True)).unflatten(0, (CLASSES, each)).mean(1) for layer in maps]
        return maps, found.embedding.unflatten(0, (CLASSES, each)).mean(1)

    (theirs, their_mean), (mine, my_mean) = described(real.flatten(0, 1), REAL), described(ours, 2 * IPC)
    attention = sum(((a - b) ** 2).sum() for a, b in zip(theirs, mine, strict=True))
    loss = config.scale * (config.attention_weight * attention + 0.02 * ((their_mean - my_mean) ** 2).sum())
    (gradient,) = torch.autograd.grad(loss, images)
    torch.testing.assert_close(distilled(datadam, config), images.detach() - 0.3 * gradient, rtol=1e-4, atol=1e-5)


def test_mirrored_dc_matches_and_trains_its_network_on_images_and_their_mirrors(
    train: Split, distilled: Callable[..., Tensor], run: Run
) -> None:
    config = dc.Config(
        initialisations=1,
        matches=2,
        network_epochs=1,
        momentum=0.0,
        lr_network=0.5,
        real_batch=REAL,
        mirror=True,
        initial="real",
        network="convnet:width=4",
    )
    space = fit("normalise", train)
    images, labels = initial_images(train, Budget(ipc=IPC), space, run.rng("initial"), "real")
    network = networks.build("convnet:width=4", train.shape, CLASSES, run.rng("network", 0))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    for step in range(2):
        images = images.detach().requires_grad_()
        distance = torch.zeros(())
        for label, real in enumerate(RealBatches(train, space).draw(REAL, run.rng("real", step))):
            pair = []
            for batch in (real, both(images[labels == label])):
                loss = cross_entropy(network(batch), torch.full((len(batch),), label))
                pair.append(torch.autograd.grad(loss, matrices, create_graph=True))
            for theirs, ours in zip(*pair, strict=True):
                cosine = cosine_similarity(theirs.detach().flatten(1), ours.flatten(1), dim=1, eps=0)
                distance = distance + (1 - cosine).sum()
        (gradient,) = torch.autograd.grad(distance, images)
        images = images.detach() - 0.1 * gradient
        optimizer.zero_grad()
        cross_entropy(network(both(images)), torch.cat([labels, labels])).backward()
        optimizer.step()
    torch.testing.assert_close(distilled(dc, config), images, rtol=1e-3, atol=1e-4)


@every
def test_the_two_switches_change_the_result_each_for_itself(
    method: Any, config: Any, distilled: Callable[..., Tensor]
) -> None:
    made = [
        distilled(method, replace(config, mirror=mirror, flip_first=flip_first))
        for mirror in (False, True)
        for flip_first in (False, True)
    ]
    assert torch.equal(made[0], distilled(method, config))
    assert all(not torch.equal(first, second) for first, second in itertools.combinations(made, 2))


@every
@pytest.mark.parametrize("switch", ["mirror", "flip_first"])
def test_switches_are_refused_for_data_whose_classes_a_mirror_image_changes(
    method: Any, config: Any, switch: str, train: Split, tmp_path: Path
) -> None:
    digits = replace(train, flips=False)
    with (
        Run(tmp_path, seed=0) as run,
        pytest.raises(BadInput, match=rf"{switch} adds mirror images, .* \(as of digits\); leave it off"),
    ):
        method.distill(digits, Budget(ipc=IPC), replace(config, **{switch: True}), run)


@every
def test_flipping_first_without_augmentation_is_refused(
    method: Any, config: Any, distilled: Callable[..., Tensor]
) -> None:
    with pytest.raises(BadInput, match="flip_first changes an augmentation that is switched off; set augment=true"):
        distilled(method, replace(config, augment=False, flip_first=True))


@every
def test_mirrors_count_in_the_announced_cost(method: Any, config: Any, train: Split) -> None:
    plain, mirrored = (
        method.cost(train, Budget(ipc=IPC), replace(config, mirror=mirror)).operations for mirror in (False, True)
    )
    assert plain < mirrored < 2 * plain
