"""Flat trajectory distillation (FTD).

Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset Distillation", CVPR 2023,
https://arxiv.org/abs/2211.11004: MTT (https://arxiv.org/abs/2203.11932, Alg. 1) on experts that stay in flat regions,
and a moving average of the images. With `mirror` it is FTD + FYI: Son et al., "FYI: Flip Your Images for Dataset
Distillation", ECCV 2024, https://arxiv.org/abs/2407.08113.

Departures from the paper:
    - experts are trained with GSAM as in the authors' code; the paper derives it as a penalty on the rise of the loss
      within a radius.
    - the average starts at the initial real images and is not corrected for them, as in the authors' code: with decay
      0.9999 over 5 000 steps they keep a weight of 0.61. `ema_correction` takes them out. A rejected step counts as
      one, on images that did not move.
    - networks are judged on the averaged images alone; the authors' code goes on training, on the averaged images, a
      network that was already trained on the last ones.
    - where the authors do not say whether pixels are whitened, MTT's choice for the same cell is taken.
    - the exact gradient is computed with one step's graph alive at a time; the authors keep all N graphs.
    - experts are trained for the T+ + M - 1 epochs that a segment can reach; the authors train 50.
    - a step whose loss or gradient is not finite is left out, and one update at most halves or doubles the step size;
      the authors' code goes on with what comes.
    - a hundred steps in a row that are left out end the learning.
    - the last average is kept; the authors report the best of those tried on the test data.
    - FYI's code judges with the flip that it adds to DSA (`flip_first`); here the judge's augmentation stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from condense import preprocessing
from condense.augment import Augmentation, NoAugmentation
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet, HardLabels
from condense.errors import BadInput
from condense.experts import ExpertRecipe, Store
from condense.matching import Initial, initial_images, siamese
from condense.method import Cost, Count, Method, Preset
from condense.run import Run
from condense.trajectories import (
    Window,
    descent_of,
    expert_in_turn,
    flat_recipe,
    matching_cost,
    segment_between,
    student_of,
    trained,
)
from condense.unroll import EngineName

ABOUT = Method(
    title="FTD",
    paper="Du et al., Minimizing the Accumulated Trajectory Error to Improve Dataset Distillation, CVPR 2023",
    url="https://arxiv.org/abs/2211.11004",
    family="trajectory",
    kind="synthetic",
    ingredients={
        "rho": 0.0,
        "ema_decay": 0.0,
        "ema_correction": True,
        "augment": False,
        "mirror": True,
        "flip_first": True,
        "initial": "noise",
    },
)


@dataclass(frozen=True)
class Config:
    steps: int = 5_000  # outer steps, each on one segment of one expert
    student_steps: Count = 30  # N, steps of the student
    expert_epochs: Count = 2  # M, epochs of the expert that they match
    start_epochs: Count = 20  # T+, a segment starts after 0 to T+ - 1 epochs of the expert
    batch: Count | None = None  # b, synthetic images in a student's step; none: all
    lr_images: float = 100.0  # step size of the images
    momentum: float = 0.5  # of the SGD on images and step size
    step_size: float = 0.001  # the student's; learned from this value on
    lr_step_size: float = 1e-5  # step size of the step size
    threshold: float | None = None  # steps with a larger loss are rejected; none: only those that are not finite
    ema_decay: float = 0.9995  # d, of the average of the images; 0 keeps the last images
    ema_correction: bool = False  # take the initial images' weight d^steps out of the average
    augment: bool = True  # DSA of experts and students
    mirror: bool = False  # FYI: batches are halved and joined by their mirror images
    flip_first: bool = False  # FYI's DSA: always flips with probability 1/2, then takes one of the other five ops
    initial: Initial = "real"  # start from real images or from noise
    experts: Count = 100  # trajectories, shared between methods that train them alike
    expert_lr: float = 0.01  # step size of the experts
    expert_batch: Count = 256  # real images in a step of an expert
    expert_store: Store = "float32"  # of the experts' files; bfloat16-differences: half the size
    rho: float = 0.01  # radius of the experts' sharpness-aware step; 0: plain SGD, as MTT
    alpha: float = 0.3  # weight of GSAM's orthogonal part; 0: ASAM
    engine: EngineName = "adjoint"  # of the unrolled gradient: adjoint | higher | tesla (approximate) | unroll
    graph_gibibytes: float = 1.0  # memory for graphs that an uncompiled adjoint or tesla keeps and need not build twice
    bfloat16: bool = False  # convolutions and products of students in bfloat16
    network: str = "convnet"  # of experts and students; its depth follows the image size
    preprocessing: str = "zca"  # pixel space of experts, matching and training: normalise | zca | identity

    def __post_init__(self) -> None:
        if not 0 <= self.ema_decay < 1:
            raise BadInput(f"ema_decay must lie in [0, 1), got {self.ema_decay:g}; 0 keeps the last images")


def _published(cell: str, source: str = "Table 7", **fields: Any) -> Preset:
    return Preset(Config(**fields), f"{source}, {cell}")


_CIFAR100: dict[str, Any] = {"lr_images": 1000.0, "step_size": 0.01, "alpha": 1.0}
_LARGE: dict[str, Any] = {
    "lr_images": 1e4, "step_size": 0.01, "lr_step_size": 1e-4, "ema_decay": 0.999, "alpha": 1.0,
    "preprocessing": "normalise",
}  # fmt: skip

# fmt: off
PRESETS = {
    "cifar10-ipc1": _published(
        "CIFAR-10, IPC 1",
        student_steps=50, start_epochs=2, step_size=0.01, lr_step_size=1e-7, ema_decay=0.9999,
    ),
    "cifar10-ipc10": _published("CIFAR-10, IPC 10"),
    "cifar10-ipc50": _published(
        "CIFAR-10, IPC 50",
        start_epochs=40, lr_images=1000.0, step_size=0.01, ema_decay=0.999, alpha=1.0, preprocessing="normalise",
    ),
    "cifar100-ipc1": _published("CIFAR-100, IPC 1", student_steps=40, expert_epochs=3, **_CIFAR100),
    "cifar100-ipc10": _published("CIFAR-100, IPC 10", student_steps=20, start_epochs=40, **_CIFAR100),
    "cifar100-ipc50": _published(
        "CIFAR-100, IPC 50", student_steps=80, start_epochs=40, batch=1000, ema_decay=0.999, **_CIFAR100
    ),
    "tiny-imagenet-ipc1": _published("Tiny-ImageNet, IPC 1", start_epochs=10, **_LARGE),
    "tiny-imagenet-ipc10": _published(
        "Tiny-ImageNet, IPC 10", student_steps=20, start_epochs=40, batch=500, **_LARGE
    ),
    "imagenet-subsets": _published(
        "ten classes at 128 pixels, IPC 1 and 10", "authors' settings for subsets of ImageNet",
        student_steps=20, start_epochs=10, batch=64, **_LARGE,
    ),
    "cpu": Preset(
        Config(
            steps=40, student_steps=20, start_epochs=6, batch=50, lr_images=10.0, step_size=0.13, lr_step_size=1e-4,
            experts=2, expert_lr=0.1, expert_batch=32, network="convnet:width=16", preprocessing="normalise",
            ema_decay=0.9,
        ),
        "two cores, digits", distill_seconds=10.0, judge_seconds=4.0,
    ),
}
# fmt: on


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Learns images on which students follow segments of flat experts, and returns their moving average."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    augment = siamese(train, config.augment, flip_first=config.flip_first, align_corners=True)
    window, student = Window(config.start_epochs), student_of(config, train, budget, augment, run, mirror=config.mirror)
    pool = trained(config, train, space, recipe(config, augment), window.reach(config.expert_epochs), run)
    images, labels = initial_images(train, budget, space, run.rng("initial"), config.initial)  # X  (M, C, H, W)
    first, average = images.clone(), images.clone()  # X_ema
    descent = descent_of(config, images)
    step_size = descent.step_size

    state = run.state(images=images, average=average, averaged=0, step_size=step_size, descent=descent)
    for step in run.loop("match", config.steps, state):
        expert = expert_in_turn(len(pool), step, run.rng)
        start = window.draw(step, run.rng("start", step))  # t < T+
        segment = segment_between(pool, expert, start, config.expert_epochs, config.student_steps)
        descent.step(student.loss(segment, images, labels, step_size, run.rng("student", step)), run)
        move_average(average, images, config.ema_decay)
        state.averaged += 1
    if config.ema_correction:
        average = without_start(average, first, config.ema_decay, state.averaged)
    flags = descent.conclusion(run)
    return DistilledSet.synthetic(
        average, HardLabels(labels), train, space, step_size=step_size.item(), provenance={"flags": flags}
    )


@torch.no_grad()
def move_average(average: Tensor, images: Tensor, decay: float) -> None:
    """X_ema <- d X_ema + (1 - d) X, in place."""
    average.mul_(decay).add_(images, alpha=1 - decay)


def without_start(average: Tensor, first: Tensor, decay: float, steps: int) -> Tensor:
    """The average that started at `first`, without it: (X_ema - d^steps X_0) / (1 - d^steps); X_0 after no step."""
    return first + (average - first) / (1 - decay**steps) if steps else first


def recipe(config: Config, augment: Augmentation) -> ExpertRecipe:
    """How the flat experts are trained."""
    return flat_recipe(config.network, config.expert_lr, config.expert_batch, augment, config.rho, config.alpha)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """The experts, and an unrolled gradient for each outer step."""
    epochs = Window(config.start_epochs).reach(config.expert_epochs)
    return matching_cost(config, recipe(config, NoAugmentation()), epochs, train, budget)
