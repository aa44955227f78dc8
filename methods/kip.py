"""Kernel inducing points (KIP).

Nguyen, Chen & Lee, "Dataset Meta-Learning from Kernel Ridge-Regression", ICLR 2021, https://arxiv.org/abs/2011.00050,
and Nguyen, Novak, Xiao & Lee, NeurIPS 2021, https://arxiv.org/abs/2107.13034.

Three kernels. "ntk" and "nngp" are exact for an infinitely wide network, fully connected or convolutional without
pooling (`condense.kernels.infinite`). "random-features" approximates the kernel of a pooled convolutional network by
finite ones: k(x, x') = mean over R fresh random networks of f(x) . f(x') / D, drawn again in every step, so that the
error of one draw, of the order of 1 / sqrt(R width), averages out over steps (after Loo et al., RFAD, NeurIPS 2022,
https://arxiv.org/abs/2210.12067). No library is used: the one that is kept up for these kernels, neural-tangents, is
written in JAX, through which PyTorch cannot differentiate. The first paper's other method, label solving, is
`solve_labels`. Labels are stored as FRePo's are: logits at temperature 1.

Departures from the paper:
    - the default kernel is "random-features" (paper: the exact kernel of a pooled convolutional network, which takes
      (H W)² numbers for each pair of images and was computed on many machines).
    - random networks are drawn as PyTorch draws them, weights and biases uniform with variance 1 / (3 fan-in), and have
      no norm; the infinite ones have variance 2 / fan-in and no biases.
    - images are normalised by channel, then whitened with a ridge of 0.1 of their mean variance (authors' code: each
      image is centred and divided by its norm before that).
    - Adam at 0.01, 1024 real images a step and 5000 steps are this project's; the authors' settings were not read.
    - every step draws its real batch anew, without repetition within it; the set of the last step is the result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from condense import kernels, networks, preprocessing
from condense.budget import Budget
from condense.centred_labels import centred, half_squared_error, initial_targets
from condense.data import Split
from condense.distilled import DistilledSet, SoftLabels
from condense.kernels import InfiniteNetwork, Ridge
from condense.matching import Initial, initial_images, random_rows
from condense.method import Cost, Count, Method, Positive, Preset
from condense.run import Run
from condense.sending import send
from condense.training import Source, SplitSource, on_device

ABOUT = Method(
    title="KIP",
    paper="Nguyen et al., Dataset Meta-Learning from Kernel Ridge-Regression, ICLR 2021",
    url="https://arxiv.org/abs/2011.00050",
    family="kernel-regression",
    kind="synthetic",
    ingredients={"learn_labels": False, "initial": "noise"},
)


@dataclass(frozen=True)
class Config:
    steps: int = 5_000  # outer steps, each with one batch of real images
    lr: float = 0.01  # Adam's rate for images and labels
    real_batch: Count = 1024  # |X_t|, real images of a step
    ridge: Positive = 1e-6  # lambda = ridge * tr(K_ss) / m, the trace inside the gradient
    learn_labels: bool = True  # Y_s moves together with X_s
    solve_labels: bool = False  # label solving: at the end Y_s becomes the best one for X_s over all real images
    kernel: Literal["random-features", "ntk", "nngp"] = "random-features"  # k
    networks: Count = 4  # R, random networks of a step; random-features only
    network: str = "convnet:norm=none"  # their kind; random-features only
    layers: Literal["dense", "conv"] = "dense"  # of the infinite network; ntk and nngp only
    depth: int = 3  # its hidden layers; ntk and nngp only
    gram: Literal["float32", "float64"] = "float32"  # of kernels and their solution; float64 for many images
    initial: Initial = "real"  # start from real images or from noise
    preprocessing: str = "zca-relative"  # pixel space: zca-relative | zca (as MTT) | normalise | identity
    chunk: Count = 256  # real images whose features or kernel rows are computed together


_PSEUDO_INVERSE = 1e-12  # of the trace: directions of labels that no real image tells apart stay at zero


PRESETS = {
    "label-solve": Preset(
        Config(steps=0, solve_labels=True, kernel="ntk"), "this project's choice: real images with solved labels"
    ),
    "ntk": Preset(Config(kernel="ntk"), "this project's choice: the exact kernel of a fully connected network"),
    "cpu": Preset(
        Config(
            steps=300,
            lr=0.03,
            real_batch=256,
            networks=1,
            network="convnet:norm=none,width=64",
            preprocessing="normalise",
        ),
        "two cores, digits",
        distill_seconds=7.0,
        judge_seconds=3.0,
    ),
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Learns the images and labels of a kernel ridge regressor of the real labels."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    images, labels = initial_images(train, budget, space, run.rng("initial"), config.initial)  # X_s (m, C, H, W)
    targets = initial_targets(labels, train.n_classes)  # Y_s (m, K)
    learned = [images.requires_grad_(), targets.requires_grad_()] if config.learn_labels else [images.requires_grad_()]
    optimizer = torch.optim.Adam(learned, lr=config.lr)
    real, real_labels = on_device(SplitSource(train, space), run.device), train.labels.to(run.device)
    jitters = kernels.Jitters(run)
    regress = _regressor(train, config, jitters, run)

    state = run.state(images=images, targets=targets, optimizer=optimizer, jitters=jitters)
    for step in run.loop("regress", config.steps, state):
        rows = random_rows(len(train), config.real_batch, run.rng("real", step))
        predict = regress(step, images, targets)
        prediction = predict(real.gather(rows, run.device))  # K_ts (K_ss + lambda I)^-1 Y_s
        loss = half_squared_error(prediction, centred(real_labels[send(rows, run.device)], train.n_classes))
        optimizer.zero_grad()
        loss.backward(inputs=learned)
        optimizer.step()
        run.log(loss=loss.detach())
    if config.solve_labels:
        targets = _solved(partial(regress, config.steps), images, real, real_labels, config, jitters, run)
    return DistilledSet.synthetic(
        images, SoftLabels(targets.cpu(), form="logits"), train, space, provenance=jitters.provenance()
    )


Predictor = Callable[[Tensor], Tensor]  # queries (n, C, H, W) -> (n, K)
Regressor = Callable[[int, Tensor, Tensor], Predictor]  # step, support images, targets


def _regressor(train: Split, config: Config, jitters: kernels.Jitters, run: Run) -> Regressor:
    ridge = dataclasses.replace(kernels.FREPO, strength=config.ridge)
    if config.kernel == "random-features":
        return _finite(train, config, ridge, jitters, run)
    kernel, dtype = InfiniteNetwork(config.kernel, config.layers, config.depth), getattr(torch, config.gram)

    def regress(step: int, images: Tensor, targets: Tensor) -> Predictor:
        support = images.to(dtype)
        dual = kernels.dual_weights(kernel(support), targets, ridge, jitters)

        def predict(queries: Tensor) -> Tensor:
            # The gradient reaches the images through these rows too; they are computed again in it, chunk by chunk.
            rows = kernels.support_features(lambda part: kernel(part.to(dtype), support), queries, config.chunk)
            return (rows @ dual).to(targets.dtype)

        return predict

    return regress


@torch.no_grad()
def _solved(
    regress: Callable[[Tensor, Tensor], Predictor],
    images: Tensor,
    real: Source,
    real_labels: Tensor,
    config: Config,
    jitters: kernels.Jitters,
    run: Run,
) -> Tensor:
    """Y (m, K) that minimises |A Y - Y_t|² over all real images, A = K_ts (K_ss + lambda I)^-1, by normal equations."""
    count, columns = len(images), real.n_classes
    predict = regress(images, torch.eye(count, device=images.device))  # the regressor of these targets is A itself
    normal, right = images.new_zeros(count, count).double(), images.new_zeros(count, columns).double()
    parts = torch.arange(len(real)).split(config.real_batch)
    for step in run.loop("solve", len(parts), run.state(normal=normal, right=right, jitters=jitters)):
        a = predict(real.gather(parts[step], images.device)).double()  # (n, m)
        normal += a.T @ a
        right += a.T @ centred(real_labels[send(parts[step], images.device)], columns).to(right)
    return kernels.dual_weights(normal, right, Ridge(_PSEUDO_INVERSE, "trace"), jitters).to(images.dtype)


def _finite(train: Split, config: Config, ridge: Ridge, jitters: kernels.Jitters, run: Run) -> Regressor:
    """Features of fresh random networks side by side; their inner product is the mean of the networks' kernels."""
    members = [run.place(_random_network(train, config)) for _ in range(config.networks)]
    embed = run.compiled(kernels.embed)

    def regress(step: int, images: Tensor, targets: Tensor) -> Predictor:
        for index, member in enumerate(members):
            networks.initialise(member, run.rng("network", step, index))
        each = [partial(embed, member) for member in members]
        # A common factor of all features scales kernel and ridge alike: 1 / sqrt(R D) is left out.
        support = torch.cat([features(images) for features in each], dim=1)  # (m, R*D)
        weights = kernels.ridge_weights(support.to(getattr(torch, config.gram)), targets, ridge, jitters)

        def predict(queries: Tensor) -> Tensor:
            known = torch.cat([kernels.frozen_features(features, queries, config.chunk) for features in each], dim=1)
            return known @ weights.to(known.dtype)

        return predict

    return regress


def _random_network(train: Split, config: Config) -> networks.Network:
    network = networks.build(config.network, train.shape, train.n_classes)
    return network.requires_grad_(False).eval()


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """Features of real and synthetic images, or kernel rows, and the algebra; of all real images to solve labels."""
    count, n_classes = sum(budget.counts(train.class_counts())), train.n_classes
    solved = len(train) if config.solve_labels else 0
    normal = 2.0 * solved * count**2
    if config.kernel != "random-features":
        channels, height, width = train.shape
        pixels = height * width if config.layers == "conv" else 1
        # Of a pair: inner products, and about 40 operations for each pixel and layer.
        pair = 2.0 * channels * height * width + 40 * config.depth * pixels
        pairs = float(count * (count + config.real_batch))
        # Three times as many with the gradient, and once more again.
        operations = pair * (config.steps * 4 * pairs + (count * (count + solved) if solved else 0)) + normal
        return Cost(operations, 4.0 * 8 * config.depth * pixels * pairs)
    network = networks.build(config.network, train.shape, n_classes)
    forward, activations = networks.operations(network, train.shape), networks.activation_bytes(network, train.shape)
    size = config.networks * network.classifier.in_features
    algebra = kernels.operations(count, config.real_batch, size, n_classes)
    return Cost(
        operations=config.steps * (config.networks * forward * (config.real_batch + 3 * count) + algebra)
        + (config.networks * forward + 2.0 * size * count) * solved
        + normal,
        memory_bytes=activations * (config.chunk + 2 * config.networks * count)
        + 4.0 * size * (config.real_batch + 3 * count),
    )
