"""Neural feature regression with pooling (FRePo).

Zhou, Nezhadarya & Ba, "Dataset Distillation using Neural Feature Regression", NeurIPS 2022,
https://arxiv.org/abs/2206.00719, Alg. 1, with the formulas of the authors' code.

The labels are learned values of a regression, centred at zero. They are stored as logits at temperature 1: a squared
error compares them as they are, as in the paper; a protocol on hard labels takes the class of the largest.

Departures from the paper:
    - mirror images are off unless a preset or `mirror` asks for them, as some data do not allow them (authors' script:
      on for CIFAR-10, and at IPC 1 for CIFAR-100 and Tiny-ImageNet).
    - networks are drawn as PyTorch draws them, weights and biases uniform with variance 1 / (3 fan-in) (authors' code:
      weights normal with variance 1 / fan-in, biases zero).
    - every step draws its real batch anew, without repetition within it (authors' code: passes over shuffled data).
    - the set of the last step is the result (authors' code: also keeps the checkpoint with the best test accuracy).
    - sets are judged in the tracks of this project: with norm, cross-entropy and no average of the weights
      (paper: no norm, squared error, an exponential average of weights at 0.995).
    - the Gram matrix is summed in float32, factor and solves are float64 (authors' code: float32).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from condense import kernels, networks, preprocessing
from condense.budget import Budget
from condense.centred_labels import centred, half_squared_error, initial_targets, lost_margin
from condense.data import Split
from condense.distilled import DistilledSet, SoftLabels
from condense.lamb import Lamb
from condense.matching import Initial, initial_images, random_rows
from condense.method import Cost, Count, Method, Part, Positive, Preset
from condense.mirror import expansion
from condense.pool import Pool
from condense.run import Run
from condense.sending import send
from condense.training import Schedule, SplitSource, on_device
from condense.training.optimisers import set_rate

ABOUT = Method(
    title="FRePo",
    paper="Zhou et al., Dataset Distillation using Neural Feature Regression, NeurIPS 2022",
    url="https://arxiv.org/abs/2206.00719",
    family="kernel-regression",
    kind="synthetic",
    ingredients={"learn_labels": False, "online_updates": 0, "initial": "noise"},
)


@dataclass(frozen=True)
class Config:
    steps: int = 500_000  # outer steps, each with one network of the pool
    lr: float = 3e-4  # LAMB's rate for images and labels; a cosine takes it to a tenth
    real_batch: Count = 1024  # |X_t|, real images of a step
    ridge: Positive = 1e-6  # lambda = ridge * tr(K_ss) / m, the trace inside the gradient
    learn_labels: bool = True  # Y_s moves together with X_s
    label_margin: float = 1.0  # weight of the penalty that keeps each learned label in its class
    mirror: bool = False  # regress on the images and their mirror images; refused where a flip changes the class
    pool: Count = 10  # networks that are trained online
    online_updates: int = 100  # most updates of a network before a fresh one takes its place; 0: random networks
    online_batch: Count = 1000  # synthetic images of an online update, which hold the most maps when low_memory
    online_lr: float = 3e-4  # Adam's, in online updates
    statistics: Part = 0.9  # part of a network's batch-norm statistics that each online update replaces
    initial: Initial = "real"  # start from real images or from noise
    network: str = "convnet:growth=2,norm=batch,norm_at=input"  # f_omega; widths 128, 256, 512 at 32 pixels
    preprocessing: str = (
        "zca-relative"  # pixel space: zca-relative (as the authors) | zca (as MTT) | normalise | identity
    )
    precision: Literal["float32", "bfloat16"] = (
        "float32"  # of the regression's convolutions; online updates are float32
    )
    gram: Literal["float32", "float64"] = "float32"  # float64 for many images, where float32 may be indefinite
    chunk: Count = 256  # images in a forward pass without gradient, or with it when low_memory
    low_memory: bool = False  # in the regression: maps computed again in the backward pass, by chunks


PRESETS = {
    "published-cifar10": Preset(Config(mirror=True), "authors' script: CIFAR-10; CIFAR-100 and Tiny-ImageNet at IPC 1"),
    "published-large-ipc": Preset(Config(), "authors' script: CIFAR-100 and Tiny-ImageNet above IPC 1"),
    "cifar100-ipc50": Preset(
        Config(gram="float64"), "authors' script in float64: CIFAR-100 at IPC 50, where float32 was seen to end in NaN"
    ),
    "published-grey": Preset(
        Config(preprocessing="normalise"), "authors' script: MNIST and Fashion-MNIST, without ZCA"
    ),
    "cpu": Preset(
        Config(
            steps=400,
            lr=0.01,
            real_batch=256,
            online_lr=3e-3,
            network="convnet:width=32,growth=2,norm=batch,norm_at=input",
            preprocessing="normalise",
        ),
        "two cores, digits",
        distill_seconds=8.0,
        judge_seconds=3.0,
    ),
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Learns images and labels whose ridge regressor on a network's features predicts the real labels, Alg. 1."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    images, labels = initial_images(train, budget, space, run.rng("initial"), config.initial)  # X_s (m, C, H, W)
    targets = initial_targets(labels, train.n_classes)  # Y_s (m, K)
    learned = [images.requires_grad_(), targets.requires_grad_()] if config.learn_labels else [images.requires_grad_()]
    optimizer = Lamb(learned, lr=config.lr)
    real, real_labels = on_device(SplitSource(train, space), run.device), train.labels.to(run.device)
    pool = _pool(train, config, run)
    expand = expansion(train, config.mirror)
    embed = run.compiled(kernels.embed)
    ridge, jitters = dataclasses.replace(kernels.FREPO, strength=config.ridge), kernels.Jitters(run)
    schedule = Schedule("cosine", floor=0.1)

    state = run.state(images=images, targets=targets, optimizer=optimizer, jitters=jitters, **pool.parts())
    for step in run.loop("regress", config.steps, state):
        set_rate(optimizer, config.lr * schedule.multiplier(step, 0, 1, config.steps))
        member = pool.choose(run.rng("member", step))
        features = partial(embed, pool.members[member], precision=config.precision)  # f_omega
        rows = random_rows(len(train), config.real_batch, run.rng("real", step))
        queries = kernels.frozen_features(features, real.gather(rows, run.device), config.chunk)  # Phi_t (n, D)
        support_images, support_targets = expand(images, targets)
        support = kernels.support_features(features, support_images, config.chunk if config.low_memory else None)
        support = support.to(getattr(torch, config.gram))  # Phi_s (m, D)
        weights = kernels.ridge_weights(support, support_targets, ridge, jitters).to(queries.dtype)
        answers = centred(real_labels[send(rows, run.device)], train.n_classes)  # Y_t (n, K)
        loss = half_squared_error(queries @ weights, answers)  # K_ts (K_ss + lambda I)^-1 Y_s
        penalty = config.label_margin * lost_margin(targets)
        optimizer.zero_grad()
        (loss + penalty).backward(inputs=learned)
        optimizer.step()
        sample = send(random_rows(len(images), config.online_batch, run.rng("online", step)), images.device)
        pool.advance(member, images[sample], targets[sample], run.rng("birth", step))
        run.log(loss=loss.detach())
    return DistilledSet.synthetic(
        images, SoftLabels(targets.cpu(), form="logits"), train, space, provenance=jitters.provenance()
    )


def _pool(train: Split, config: Config, run: Run) -> Pool:
    members = [
        run.place(networks.build(config.network, train.shape, train.n_classes, run.rng("network", index)))
        for index in range(config.pool)
    ]
    for norm in (layer for member in members for layer in member.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.momentum = config.statistics
    # Weights are fresh; only the counters are spread, so that the first replacements do not fall together.
    ages = [index * config.online_updates // config.pool for index in range(config.pool)]
    # The code replaces a network whose counter exceeds the limit: one update more than its name says.
    oldest = config.online_updates and config.online_updates + 1
    return Pool(members, partial(torch.optim.Adam, lr=config.online_lr), oldest, ages)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """A forward pass over the real batch; forward and input gradient over the synthetic images; an online update."""
    network = networks.build(config.network, train.shape, train.n_classes)
    forward, activations = networks.operations(network, train.shape), networks.activation_bytes(network, train.shape)
    synthetic = sum(budget.counts(train.class_counts()))
    support = synthetic * (2 if config.mirror else 1)
    online = min(synthetic, config.online_batch)
    algebra = kernels.operations(support, config.real_batch, network.classifier.in_features, train.n_classes)
    kept = min(support, config.chunk) if config.low_memory else support
    return Cost(
        operations=config.steps
        * (forward * (config.real_batch + (4 if config.low_memory else 3) * support + 3 * online) + algebra),
        memory_bytes=activations * (config.chunk + 2 * max(kept, online))
        + 4.0 * network.classifier.in_features * (config.real_batch + 3 * support),
    )
