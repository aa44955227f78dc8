"""Gradient matching (DC); with `augment` it is differentiable siamese augmentation (DSA).

Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021,
https://arxiv.org/abs/2006.05929, Alg. 1; Zhao & Bilen, "Dataset Condensation with Differentiable Siamese
Augmentation", ICML 2021, https://arxiv.org/abs/2102.08259. With `mirror` it is DC or DSA + FYI: Son et al., "FYI: Flip
Your Images for Dataset Distillation", ECCV 2024, https://arxiv.org/abs/2407.08113.

Departures from the paper:
    - gradients of vectors (biases, norm parameters) do not count in the distance, as in the authors' code.
    - the network's SGD has momentum 0.5 in the presets of DC, as in the code released with that paper, and none in
      those of DSA, as in the code released with that one, which trains DC so too.
    - the network's inner training draws one batch order per epoch from its own generator; the authors use a global one.
    - K networks are drawn; the authors' loop draws one more.
    - networks with batch norm take the statistics of each batch; the authors freeze those of 16 real images per class.
    - FYI's code changes DSA together with the mirroring; here `flip_first` is a switch of its own, and the judge's
      augmentation stays as it is (their code changes that too).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from condense import networks, preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet, HardLabels
from condense.matching import Initial, RealBatches, gradient_distance, initial_images, siamese
from condense.method import Cost, Count, Method, Preset
from condense.mirror import expansion
from condense.run import Run
from condense.sending import send

ABOUT = Method(
    title="DC",
    paper="Zhao, Mopuri & Bilen, Dataset Condensation with Gradient Matching, ICLR 2021",
    url="https://arxiv.org/abs/2006.05929",
    family="matching",
    kind="synthetic",
    ingredients={"augment": True, "mirror": True, "initial": "real", "lr_network": 0.0},
)


@dataclass(frozen=True)
class Config:
    initialisations: int = 1000  # K, random networks, each trained for a while
    matches: Count = 10  # T, image updates along the training of one network (outer loop)
    network_epochs: int = 50  # varsigma_theta, epochs of network training after each image update (inner loop)
    lr_images: float = 0.1  # eta_S, step size of the images
    momentum: float = 0.5  # of the images' SGD
    lr_network: float = 0.01  # eta_theta, step size of the network
    momentum_network: float = 0.5  # of the network's SGD, from one match to the next; 0 in the authors' code for DSA
    real_batch: Count = 256  # |B_c^T|, real images of one class in a match
    network_batch: Count = 256  # images in a step of network training
    augment: bool = False  # A, siamese augmentation: True is DSA
    align_corners: bool = False  # convention of DSA's affine sampling; False as the authors' code
    mirror: bool = False  # FYI: mirror images beside the synthetic images in every batch, matched or trained on
    flip_first: bool = False  # FYI's DSA: always flips with probability 1/2, then takes one of the other five ops
    initial: Initial = "noise"  # start from noise (DC) or from real images (DSA)
    network: str = "convnet"  # P_theta, family of the networks; its depth follows the image size
    preprocessing: str = "normalise"  # pixel space of matching and training: normalise | zca | identity


_DSA = Config(augment=True, initial="real", momentum_network=0.0)

PRESETS = {
    "dc-ipc1": Preset(Config(matches=1, network_epochs=1), "DC, authors' loop table, IPC 1"),
    "dc-ipc10": Preset(Config(), "DC, authors' loop table, IPC 10"),
    "dc-ipc50": Preset(Config(matches=50, network_epochs=10), "DC, authors' loop table, IPC 50"),
    "dsa-ipc1": Preset(dataclasses.replace(_DSA, matches=1, network_epochs=1), "DSA, IPC 1"),
    "dsa-ipc10": Preset(_DSA, "DSA, IPC 10"),
    "dsa-ipc50": Preset(dataclasses.replace(_DSA, matches=50, network_epochs=10), "DSA, IPC 50"),
    "fyi-dsa": Preset(
        dataclasses.replace(_DSA, mirror=True, flip_first=True, align_corners=True),
        "FYI, authors' script for DSA, CIFAR-10, IPC 10",
    ),
    "cpu": Preset(
        dataclasses.replace(
            _DSA, initialisations=12, matches=5, network_epochs=5, real_batch=64, network="convnet:width=32"
        ),
        "two cores, digits",
        distill_seconds=5.0,
        judge_seconds=3.0,
    ),
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Matches the gradients that real and synthetic images give to a network in training, Alg. 1."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    images, labels = initial_images(train, budget, space, run.rng("initial"), config.initial)  # S  (M, C, H, W)
    optimizer = torch.optim.SGD([images.requires_grad_()], lr=config.lr_images, momentum=config.momentum)
    real = RealBatches(train, space)
    expand = expansion(train, config.mirror)  # S_c, or [S_c ; F(S_c)] of FYI
    members = [(labels == label).nonzero().squeeze(1) for label in range(train.n_classes)]  # rows of S_c
    augment = siamese(train, config.augment, align_corners=config.align_corners, flip_first=config.flip_first)
    network = run.place(networks.build(config.network, train.shape, train.n_classes, run.rng("build")))
    trainer = torch.optim.SGD(network.parameters(), lr=config.lr_network, momentum=config.momentum_network)

    # One step is one image update: the network is trained on between the matches of one initialisation.
    state = run.state(images=images, optimizer=optimizer, network=network, trainer=trainer)
    for step in run.loop("match", config.initialisations * config.matches, state):
        if step % config.matches == 0:
            networks.initialise(network, run.rng("network", step))  # theta_0 ~ P_theta
            trainer.state.clear()  # at rest
        batches = real.draw(config.real_batch, run.rng("real", step))  # (K, B, C, H, W)
        optimizer.zero_grad()
        loss = torch.zeros((), device=images.device)
        for label, batch in enumerate(batches):
            rows = members[label]
            synthetic, _ = expand(images[rows], labels[rows])
            draw = augment.draw(1, train.shape, run.rng("augment", step, label), shared=True)  # one omega for both
            distance = gradient_distance(
                gradients(network, augment.apply(batch, draw), label, create_graph=False),
                gradients(network, augment.apply(synthetic, draw), label, create_graph=True),
            )
            distance.backward(inputs=[images])  # the sum over classes is accumulated in images.grad
            loss += distance.detach()
        optimizer.step()  # S <- S - eta_S grad_S sum_c D
        if (step + 1) % config.matches:  # nothing is matched after the last training
            for rows, draws in inner_batches(images, config, run, step):  # the network learns from S, line 11
                inner, targets = expand(images.detach()[rows], labels[rows])
                descend(network, trainer, augment(inner, draws), targets)
        run.log(loss=loss)
    return DistilledSet.synthetic(images.detach(), HardLabels(labels), train, space)


def gradients(network: torch.nn.Module, images: Tensor, label: int, create_graph: bool) -> tuple[Tensor, ...]:
    """Gradient of the mean cross-entropy of one class's images (B, C, H, W) in the network's parameters."""
    targets = torch.full((len(images),), label, device=images.device)
    loss = cross_entropy(network(images), targets)
    return torch.autograd.grad(loss, tuple(network.parameters()), create_graph=create_graph)


def inner_batches(images: Tensor, config: Config, run: Run, step: int) -> Iterator[tuple[Tensor, torch.Generator]]:
    """Rows of `images` for each step of the inner loop's epochs, and what augmentation draws from in that step."""
    for epoch in range(config.network_epochs):
        order = send(torch.randperm(len(images), generator=run.rng("order", step, epoch)), images.device)
        for number, rows in enumerate(order.split(config.network_batch)):
            yield rows, run.rng("network-augment", step, epoch, number)


def descend(network: torch.nn.Module, trainer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """One step of the network on one batch, in place: theta <- theta - eta_theta grad L^S, with momentum."""
    trainer.zero_grad()
    cross_entropy(network(images), labels).backward()
    trainer.step()


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """Real gradients, synthetic gradients of gradients, and the network's own training."""
    network = networks.build(config.network, train.shape, train.n_classes)
    forward, activations = networks.operations(network, train.shape), networks.activation_bytes(network, train.shape)
    copies = 2 if config.mirror else 1
    synthetic = copies * sum(budget.counts(train.class_counts()))
    real = config.real_batch * train.n_classes
    matched = config.matches * (3 * real + 9 * synthetic)
    trained = (config.matches - 1) * 3 * config.network_epochs * synthetic
    return Cost(
        operations=config.initialisations * forward * (matched + trained),
        memory_bytes=activations * 3 * max(config.real_batch, min(copies * config.network_batch, synthetic)),
    )
