"""Trajectory matching with constant memory (TESLA).

Cui et al., "Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory", ICML 2023,
https://arxiv.org/abs/2211.10586: MTT (https://arxiv.org/abs/2203.11932, Alg. 1) with a gradient that is summed up
step by step, and soft labels assigned by the expert.

Departures from the paper:
    - the paper calls its gradient exact. It leaves out how earlier synthetic batches move later parameters, as the
      authors' code does; `engine=adjoint` puts that back, in the same memory.
    - soft labels steer the matching alone and the set has classes as its labels, as in the authors' code.
    - experts are trained for the T+ + M - 1 epochs that a segment can reach; the authors train 50.
    - a step whose loss or gradient is not finite is left out, and one update at most halves or doubles the step size;
      the authors' code goes on with what comes.
    - a hundred steps in a row that are left out end the learning.
    - the last images are kept; the authors report the best of those tried on the test data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from condense import preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet, HardLabels
from condense.experts import ExpertRecipe, Store
from condense.flat import FlatNetwork
from condense.matching import Initial, initial_images, siamese
from condense.method import Cost, Count, Method, Preset
from condense.run import Run
from condense.trajectories import (
    Window,
    descent_of,
    expert_in_turn,
    logits_of,
    matching_cost,
    student_of,
    trained,
)
from condense.unroll import EngineName, Segment

ABOUT = Method(
    title="TESLA",
    paper="Cui et al., Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory, ICML 2023",
    url="https://arxiv.org/abs/2211.10586",
    family="trajectory",
    kind="synthetic",
    ingredients={"engine": "adjoint", "soft_labels": False, "augment": False, "initial": "noise"},
)


@dataclass(frozen=True)
class Config:
    steps: int = 10_000  # outer steps, each on one segment of one expert
    student_steps: Count = 10  # N, steps of the student
    expert_epochs: Count = 3  # M, epochs of the expert that they match
    start_epochs: Count = 10  # T+, a segment starts after 0 to T+ - 1 epochs of the expert
    batch: Count | None = 100  # b, synthetic images in a student's step; none: all
    lr_images: float = 1e4  # step size of the images
    momentum: float = 0.5  # of the SGD on images and step size
    step_size: float = 0.01  # beta, the student's; learned from this value on
    lr_step_size: float = 1e-4  # step size of the step size
    threshold: float | None = None  # steps with a larger loss are rejected; none: only those that are not finite
    soft_labels: bool = True  # students learn what the expert, at the end of the segment, says of the images
    augment: bool = True  # DSA of experts and students
    initial: Initial = "real"  # start from real images or from noise
    experts: Count = 50  # trajectories, shared between methods that train them alike
    expert_lr: float = 0.01  # step size of the experts' plain SGD
    expert_batch: Count = 256  # real images in a step of an expert
    expert_store: Store = "float32"  # of the experts' files; bfloat16-differences: half the size
    engine: EngineName = "tesla"  # of the unrolled gradient: tesla (approximate) | adjoint | higher | unroll
    graph_gibibytes: float = 1.0  # memory for graphs that an uncompiled adjoint or tesla keeps and need not build twice
    bfloat16: bool = False  # convolutions and products of students in bfloat16
    network: str = "convnet"  # of experts and students; its depth follows the image size
    preprocessing: str = "normalise"  # pixel space of experts, matching and training: normalise | zca | identity


def _published(cell: str, **fields: Any) -> Preset:
    return Preset(Config(**fields), f"authors' readme, {cell}")


# fmt: off
PRESETS = {
    "imagenet1k-ipc1": _published("ImageNet-1K at 64 pixels, IPC 1"),
    "cifar10-ipc1": _published(
        "CIFAR-10, IPC 1",
        student_steps=50, expert_epochs=2, start_epochs=5, batch=None, lr_images=1000.0, lr_step_size=1e-7,
        soft_labels=False, experts=100,
    ),
    "cifar100-ipc50": _published(
        "CIFAR-100, IPC 50",
        student_steps=80, expert_epochs=2, start_epochs=40, batch=125, lr_images=1000.0, lr_step_size=1e-5,
        soft_labels=False, experts=100, preprocessing="zca",
    ),
    "cpu": Preset(
        Config(
            steps=40, student_steps=20, start_epochs=6, batch=50, lr_images=10.0, step_size=0.13, lr_step_size=1e-4,
            experts=2, expert_lr=0.1, expert_batch=32, network="convnet:width=16", preprocessing="normalise",
            expert_epochs=2, soft_labels=False,
        ),
        "two cores, digits", distill_seconds=8.0, judge_seconds=4.0,
    ),
}
# fmt: on


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Learns images on which students follow segments of experts, with the gradient added up step by step."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    augment = siamese(train, config.augment, flip_first=False, align_corners=True)
    recipe = ExpertRecipe(config.network, config.expert_lr, config.expert_batch, augment=augment.spec())
    window, student = Window(config.start_epochs), student_of(config, train, budget, augment, run)
    pool = trained(config, train, space, recipe, window.reach(config.expert_epochs), run)
    images, classes = initial_images(train, budget, space, run.rng("initial"), config.initial)  # (M, C, H, W), (M,)
    descent = descent_of(config, images)
    step_size = descent.step_size  # beta

    for step in run.loop("match", config.steps, run.state(images=images, step_size=step_size, descent=descent)):
        expert = expert_in_turn(len(pool), step, run.rng)
        start = window.draw(step, run.rng("start", step))  # t < T+
        target = pool.at(expert, start + config.expert_epochs)
        segment = Segment.ending_at(pool.at(expert, start), target, config.student_steps)
        labels = assigned(pool.network, target, images) if config.soft_labels else classes
        descent.step(student.loss(segment, images, labels, step_size, run.rng("student", step)), run)
    flags = descent.conclusion(run)
    return DistilledSet.synthetic(
        images, HardLabels(classes), train, space, step_size=step_size.item(), provenance={"flags": flags}
    )


def assigned(network: FlatNetwork, parameters: Tensor, images: Tensor) -> Tensor:
    """Soft-label assignment: what the expert at the end of the segment says of the images, not augmented.

    images: (M, C, H, W).  Returns probabilities (M, K), constants of the step.
    """
    return logits_of(lambda part: network.call(parameters, part), images).softmax(1)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """The experts, and an unrolled gradient for each outer step."""
    recipe = ExpertRecipe(config.network, config.expert_lr, config.expert_batch)
    return matching_cost(config, recipe, Window(config.start_epochs).reach(config.expert_epochs), train, budget)
