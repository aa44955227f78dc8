"""Self-supervised distillation by kernel ridge regression (KRR-ST).

Lee, Lee, Ko, Kawaguchi, Lee & Hwang, "Self-Supervised Dataset Distillation for Transfer Learning", ICLR 2024,
https://arxiv.org/abs/2310.06511, Alg. 1, with the settings of the authors' code. Labels are never seen.

Departures from the paper:
    - the first images lie in the pixel space of the real ones; `initial_space="pixels"` is the authors' code, which
      starts from pixels in [0, 1] while real batches are normalised, and trains on these images as they are. Such a
      set is one of normalised images all the same, and what it shows is paler than the photographs it began with.
    - images and targets have rates of their own (authors' code: one rate for both).
    - a network that has had its T updates is born anew and trained again, as the paper says; `rebirth="old"` is the
      authors' code, which leaves the counter of such a network at T: from then on every time it is chosen it is born
      anew and never trained, so that after some 10 000 of the 160 000 steps all networks are random ones.
    - the teacher is trained here, 200 epochs of Barlow Twins with Adam and a stem that pads by 1 (authors: a released
      ResNet-18 of that objective whose stem pads by 2, with maps of 34 pixels); `teacher` takes another one.
    - every step draws its real batch anew, without repetition within it (authors' code: passes over shuffled data).
    - with `cached_views` all images of a step show the view of one number, each drawn for its image (authors' code: a
      fresh crop and flip of every image in every step, which is `cached_views=0`, the default).
    - no monitoring by linear probes every 16 000 steps: it needs labels.
    - the Gram matrix is summed in float32, factor and solves are float64 (authors' code: float32).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from condense import kernels, networks, preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet, Representations
from condense.matching import random_rows
from condense.method import Cost, Count, Method, Positive, Preset
from condense.pool import Pool
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.self_supervised import (
    Teacher,
    TeacherBatches,
    random_images,
    teacher_cost,
    teacher_for,
)
from condense.sending import send

ABOUT = Method(
    title="KRR-ST",
    paper="Lee et al., Self-Supervised Dataset Distillation for Transfer Learning, ICLR 2024",
    url="https://arxiv.org/abs/2310.06511",
    family="self-supervised",
    kind="synthetic",
    uses_labels=False,
    ingredients={
        "augment": False,
        "bias": False,
        "lr_targets": 0.0,
        "inner_steps": 0,
        "rebirth": "old",
        "initial_space": "pixels",
    },
)


@dataclass(frozen=True)
class Config:
    steps: int = 160_000  # outer steps, each with one network of the pool
    lr_images: float = 1e-4  # AdamW's rate for X_s; it falls linearly to a thousandth
    lr_targets: float = 1e-4  # of Y_s; 0 keeps the teacher's features of the first images
    real_batch: Count = 1024  # |X_t|, real images of a step
    ridge: Positive = 1e-6  # lambda = ridge * tr(K_ss), not divided by m; no gradient through the trace
    bias: bool = True  # a column of ones beside the features, for the bias of the head W
    augment: bool = True  # crop and flip of the real batch, on pixels: what lies beyond the edge is black
    padding: int = 4  # pixels by which a crop can be off
    cached_views: int = 0  # features of so many fixed views per image instead of a teacher's pass in every step
    pool: Count = 10  # M, networks that are trained online
    inner_steps: int = 1000  # T, updates of a network before a fresh one takes its place; 0: random networks
    inner_batch: int = 0  # synthetic images of an update, which hold the most maps in memory; 0: all, as published
    inner_lr: float = 0.1  # of its SGD
    inner_momentum: float = 0.9  # of that SGD
    inner_decay: float = 1e-3  # weight decay of that SGD, the ridge of the inner problem
    rebirth: Literal["young", "old"] = "young"  # whether a network that is born anew is trained; see the departures
    initial_space: Literal["preprocessed", "pixels"] = "preprocessed"  # of the first images; see the departures
    network: str = "convnet:growth=2,norm=batch"  # f_omega; widths 128, 256, 512 at 32 pixels
    teacher: str = "barlow-twins"  # g_phi, trained here, or "torchvision:resnet18@IMAGENET1K_V1", or "NETWORK@FILE"
    teacher_network: str = "resnet18:norm=batch"  # of a teacher that is trained here
    teacher_epochs: int = 200  # of its training
    teacher_projector: int = 2048  # width of its projector while it is trained
    teacher_precision: Literal["float32", "bfloat16"] = "float32"  # of its convolutions
    preprocessing: str = "normalise"  # pixel space of learning and training: normalise | zca | zca-relative | identity
    precision: Literal["float32", "bfloat16"] = "float32"  # of f_omega's convolutions in the regression only
    gram: Literal["float32", "float64"] = "float32"  # float64 for many images, where float32 may be indefinite
    chunk: Count = 256  # images in a forward pass without gradient, or with it when low_memory
    low_memory: bool = False  # in the regression: maps computed again in the backward pass, by chunks; see inner_batch


# ImageNette at 224 pixels has none: the authors published no command for it, nor the rate that it was made with.
PRESETS = {
    "published-32px": Preset(Config(rebirth="old", initial_space="pixels"), "authors' command, CIFAR-100, 1000 images"),
    "published-64px": Preset(
        Config(
            lr_images=1e-5,
            lr_targets=1e-5,
            network="convnet:width=64,growth=2,norm=batch",
            rebirth="old",
            initial_space="pixels",
        ),
        "authors' commands, Tiny-ImageNet with 2000 and ImageNet at 64 pixels with 1000 images",
    ),
    "cpu": Preset(
        Config(
            steps=300,
            lr_images=0.03,
            lr_targets=0.03,
            real_batch=256,
            padding=1,
            cached_views=4,
            pool=4,
            inner_steps=100,
            network="convnet:width=32,growth=2,norm=batch",
            teacher_network="convnet-d2:norm=batch,width=32",
            teacher_epochs=20,
            teacher_projector=128,
        ),
        "two cores, digits",
        distill_seconds=11.0,
        judge_seconds=1.0,
    ),
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Learns images and targets whose ridge regressor on a network's features predicts the teacher's, Alg. 1."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    teacher = teacher_for(train, config, run)  # g_phi
    real = TeacherBatches(train, space, teacher, config, run)
    images, targets = _initial(train, budget, space, teacher, config, run)  # X_s (m, C, H, W), Y_s (m, d)
    learned = [images.requires_grad_(), targets.requires_grad_()]
    rates = (config.lr_images, config.lr_targets)
    optimizer = torch.optim.AdamW(
        [{"params": [part], "lr": rate} for part, rate in zip(learned, rates, strict=True)], weight_decay=0.0
    )
    pool = _trained_pool(train, images, targets, config, run)
    embed = run.compiled(kernels.embed)
    ridge, jitters = dataclasses.replace(kernels.KRR_ST, strength=config.ridge), kernels.Jitters(run)

    state = run.state(images=images, targets=targets, optimizer=optimizer, jitters=jitters, **pool.parts())
    for step in run.loop("regress", config.steps, state):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - 0.999 * step / config.steps)
        member = pool.choose(run.rng("member", step))
        features = partial(embed, pool.members[member], precision=config.precision)  # f_omega, running statistics
        batch, answers = real.draw(step)  # X_t (n, C, H, W), T = g_phi(X_t) (n, d)
        queries = kernels.frozen_features(features, batch, config.chunk)
        support = kernels.support_features(features, images, config.chunk if config.low_memory else None)
        if config.bias:  # Phi = [f_omega, 1]
            queries, support = _with_ones(queries), _with_ones(support)
        support = support.to(getattr(torch, config.gram))
        weights = kernels.ridge_weights(support, targets, ridge, jitters).to(queries.dtype)
        loss = (queries @ weights - answers).square().mean()  # K_ts (K_ss + lambda I)^-1 Y_s against T
        optimizer.zero_grad()
        loss.backward(inputs=learned)
        optimizer.step()
        kept = _inner_rows(images, config, run.rng("inner", step))
        pool.advance(member, images[kept], targets[kept], run.rng("birth", step))
        run.log(loss=loss.detach())
    return DistilledSet.synthetic(images, Representations(targets.cpu()), train, space, provenance=jitters.provenance())


def _initial(
    train: Split, budget: Budget, space: Preprocessing, teacher: Teacher, config: Config, run: Run
) -> tuple[Tensor, Tensor]:
    """Random real images, whatever their classes, and the teacher's features of them."""
    rows, targets = random_images(train, budget, teacher, run)
    pixels = train.take(rows)
    images = pixels.float() / 255 if config.initial_space == "pixels" else space.forward(pixels)
    return images.to(run.device), targets.to(run.device)


def _trained_pool(train: Split, images: Tensor, targets: Tensor, config: Config, run: Run) -> Pool:
    """Networks trained on the first images for a random number of steps each, at least one where there are any."""
    members = [
        run.place(networks.build(config.network, train.shape, targets.shape[1], run.rng("network", index)))
        for index in range(config.pool)
    ]
    sgd = partial(torch.optim.SGD, lr=config.inner_lr, momentum=config.inner_momentum, weight_decay=config.inner_decay)
    pool = Pool(members, sgd, config.inner_steps, reborn_old=config.rebirth == "old")
    most = max(2, config.inner_steps)
    starts = torch.randint(1, most, (config.pool,), generator=run.rng("starts")) * (config.inner_steps > 0)
    ends = starts.cumsum(0)
    for step in run.loop("warm-up", int(ends[-1]), run.state(**pool.parts())):
        kept = _inner_rows(images, config, run.rng("warm-up", step))
        pool.update(int(torch.searchsorted(ends, step, right=True)), images[kept], targets[kept])
    return pool


def _inner_rows(images: Tensor, config: Config, generator: torch.Generator) -> Tensor:
    """Rows of the synthetic set that an update sees, in a random order."""
    return send(random_rows(len(images), config.inner_batch or len(images), generator), images.device)


def _with_ones(features: Tensor) -> Tensor:
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """The teacher and its views; in a step real images forward, synthetic ones forward and backward, and the algebra.

    Without cached views the teacher passes over every real batch, which is most of the work at the published size.
    """
    network = networks.build(config.network, train.shape, 1)
    trains_here = config.teacher == "barlow-twins"
    name = config.teacher_network if trains_here else config.teacher.partition("@")[0]
    teacher = networks.build(name, train.shape, 1)
    forward, activations = networks.operations(network, train.shape), networks.activation_bytes(network, train.shape)
    watching, size = networks.operations(teacher, train.shape), network.classifier.in_features
    count = budget.images(len(train), train.n_classes)
    inner = min(count, config.inner_batch or count)
    fresh = config.augment and not config.cached_views
    step = float(forward * (config.real_batch + (4 if config.low_memory else 3) * count + 3 * inner))
    step += kernels.operations(count, config.real_batch, size, teacher.classifier.in_features)
    step += watching * config.real_batch if fresh else 0
    warm_up = 3 * forward * inner * config.pool * config.inner_steps / 2
    held = max(inner, min(count, config.chunk) if config.low_memory else count)
    before = teacher_cost(train, config)
    return Cost(
        shared_operations=before.operations,
        operations=before.operations + watching * len(train) * config.cached_views + warm_up + config.steps * step,
        memory_bytes=max(before.memory_bytes, 2.0 * activations * held)
        + 4.0 * size * (config.real_batch + 3 * count)
        + 4.0 * len(train) * config.cached_views * teacher.classifier.in_features,
    )
