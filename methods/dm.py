"""Distribution matching (DM).

Zhao & Bilen, "Dataset Condensation with Distribution Matching", WACV 2023, https://arxiv.org/abs/2110.04181, Alg. 1.
With `mirror` it is DM + FYI: Son et al., "FYI: Flip Your Images for Dataset Distillation", ECCV 2024,
https://arxiv.org/abs/2407.08113.

Departures from the paper:
    - one step moves the images of every class together; the paper's loop over classes adds the same gradients.
    - classes may hold different numbers of images (the paper: IPC each); every class mean has the same weight.
    - FYI's code changes DSA together with the mirroring; here `flip_first` is a switch of its own, and the judge's
      augmentation stays as it is (their code changes that too).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from condense import networks, preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet, HardLabels
from condense.matching import Initial, RealBatches, averaging, initial_images, mean_embeddings, siamese, squared_gap
from condense.method import Cost, Count, Method, Preset
from condense.mirror import expansion
from condense.run import Run

ABOUT = Method(
    title="DM",
    paper="Zhao & Bilen, Dataset Condensation with Distribution Matching, WACV 2023",
    url="https://arxiv.org/abs/2110.04181",
    family="matching",
    kind="synthetic",
    ingredients={"augment": False, "mirror": True, "flip_first": True, "initial": "noise"},
)


@dataclass(frozen=True)
class Config:
    steps: int = 20_000  # K, matching steps, each with a new random network
    lr_images: float = 1.0  # eta, step size of the images
    momentum: float = 0.5  # of the images' SGD
    real_batch: Count = 256  # |B_c|, real images of each class in a step
    augment: bool = True  # A, siamese augmentation (DSA), one draw for each class in a step
    align_corners: bool = False  # convention of DSA's affine sampling; False as the authors' code
    mirror: bool = False  # FYI: mirror images beside the synthetic images in every matched batch
    flip_first: bool = False  # FYI's DSA: always flips with probability 1/2, then takes one of the other five ops
    initial: Initial = "real"  # start from real images or from noise
    network: str = "convnet"  # P_theta, family of the random networks; its depth follows the image size
    preprocessing: str = "normalise"  # pixel space of matching and training: normalise | zca | identity


PRESETS = {
    "table-1": Preset(Config(), "Table 1, CIFAR-10 and CIFAR-100, IPC 1, 10 and 50"),
    "large-ipc": Preset(Config(lr_images=10.0), "authors' readme, CIFAR-10, IPC 100 to 1250"),
    "fyi": Preset(
        Config(mirror=True, flip_first=True, align_corners=True), "FYI, authors' script for DM, CIFAR-10, IPC 10"
    ),
    "cpu": Preset(
        Config(steps=200, lr_images=3.0, real_batch=64, network="convnet:width=64"),
        "two cores, digits",
        distill_seconds=6.0,
        judge_seconds=3.0,
    ),
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Matches class means of embeddings under random networks, Alg. 1."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    images, labels = initial_images(train, budget, space, run.rng("initial"), config.initial)  # S  (M, C, H, W)
    optimizer = torch.optim.SGD([images.requires_grad_()], lr=config.lr_images, momentum=config.momentum)
    real = RealBatches(train, space)
    expand = expansion(train, config.mirror)  # S, or [S ; F(S)] of FYI
    classes = expand(images, labels)[1]  # (M,) or (2M,)
    means = averaging(classes, train.n_classes)  # (K, M) or (K, 2M)
    classes = classes.cpu()  # where draws are
    augment = siamese(
        train,
        config.augment,
        one_op_per="sample",
        align_corners=config.align_corners,
        flip_first=config.flip_first,
    )
    network = run.place(networks.build(config.network, train.shape, train.n_classes, run.rng("build")))
    chunk = None if networks.uses_batch_statistics(network) else 256
    embed = run.compiled(network.embed)

    state = run.state(images=images, optimizer=optimizer)
    for step in run.loop("match", config.steps, state):
        networks.initialise(network, run.rng("network", step))  # theta ~ P_theta
        batch = real.draw(config.real_batch, run.rng("real", step))  # B^T  (K, B, C, H, W)
        synthetic, _ = expand(images, labels)
        draw = augment.draw(train.n_classes, train.shape, run.rng("augment", step))  # one omega for each class,
        synthetic = augment.apply(synthetic, draw.take(classes))  # shared by synthetic and real
        batch = augment.apply(batch.flatten(0, 1), draw.repeat_interleave(config.real_batch)).view_as(batch)
        loss = squared_gap(mean_embeddings(embed, batch, chunk), means @ embed(synthetic))
        optimizer.zero_grad()
        loss.backward(inputs=[images])
        optimizer.step()  # S <- S - eta grad_S L
        run.log(loss=loss.detach())
    return DistilledSet.synthetic(images.detach(), HardLabels(labels), train, space)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """A forward pass over the real batch; forward and input gradient over the synthetic images."""
    network = networks.build(config.network, train.shape, train.n_classes)
    forward, activations = networks.operations(network, train.shape), networks.activation_bytes(network, train.shape)
    synthetic = sum(budget.counts(train.class_counts())) * (2 if config.mirror else 1)
    real = config.real_batch * train.n_classes
    return Cost(
        operations=config.steps * forward * (real + 3 * synthetic),
        memory_bytes=activations * (256 + 2 * synthetic),
    )
