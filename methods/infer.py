"""INFER: one compensator for the images of all classes, instead of an image of its own for each.

Zhang, Du, Liu & Zhou, "Breaking Class Barriers: Efficient Dataset Distillation via Inter-Class Feature Compensator",
ICLR 2025, https://arxiv.org/abs/2408.06927, Alg. 1.

With C classes and M networks, K real images of each class and K * M compensators of one image stand for K * (M + 1)
images of each class: the real ones, and each of them plus each of its M compensators.

Departures from the paper:
    - images are composed when they are trained on, from real pixels and compensators of one byte a value; the sum is
      cut to the range of pixels, not rounded (authors' code: composed JPEG files, which take M + 1 times the bytes).
    - the fourth network is ShuffleNet-V2 (authors, CIFAR: ShuffleNet-G2, the first version with two groups).
    - of every network all batch-norm layers count (authors' code: one layer of EfficientNet-B0 is left out on CIFAR).
    - teachers are trained on nine tenths of the training split (the paper: all of it), on CIFAR by SRe2L's recipe
      (authors: another repository's), and without dropout and stochastic depth; networks with the stem for small images
      start from PyTorch's default weights (authors: torchvision's), and a warm-up rises from 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from condense import preprocessing, recovery, teachers
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.distilled.compensated import KIND, packed
from condense.errors import Unsuitable
from condense.matching import random_indices
from condense.method import Cost, Count, Method, Positive, Preset
from condense.recovery import Descent, Draws, Objective, Synthesis, Views
from condense.run import Job, Run
from condense.soft_labels import LabelRecipe, answering_cost, label, provenance
from condense.training import Recipe

ABOUT = Method(
    title="INFER",
    paper="Zhang et al., Breaking Class Barriers: Inter-Class Feature Compensator, ICLR 2025",
    url="https://arxiv.org/abs/2408.06927",
    family="decoupled",
    kind="synthetic",
    ingredients={"compensate": False, "statistics_weight": 0.0, "roll_to": 0, "labels": "hard"},
)


@dataclass(frozen=True)
class Config:
    teachers: str = "resnet18:norm=batch+mobilenet-v2+efficientnet-b0+shufflenet-v2"  # f_1 ... f_M
    teacher_recipe: str = "sre2l-cifar"  # how they are trained
    teacher_epochs: int = 200  # of their training
    compensate: bool = True  # otherwise real images alone, as many as the budget has, with the same labels
    steps: int = 1_000  # T, on each compensator
    lr: float = 0.25  # of Adam on the compensators, falling as a cosine to 0
    statistics_weight: float = 1.0  # alpha_BN, of the batch-norm term
    first_multiplier: float = 10.0  # of the first layer in it
    smallest_crop: float = 1.0  # area of the smallest crop; 1 for no crop
    flip: bool = False  # mirror views, where that keeps the class
    roll_from: int = 0  # pixels, least circular shift of a view
    roll_to: int = 4  # pixels, largest circular shift of a view
    draws: Draws = "batch"  # one view a step for the group, or one for each image (sample)
    chunk: Count | None = None  # images with their maps in memory at a time; none for all of a group
    labels: Literal["fixed", "teacher", "hard"] = "fixed"  # one an image, or asked while training (teacher: dynamic)
    temperature: Positive = 30.0  # tau, of labels that are kept as probabilities


_IMAGENET = Config(
    teachers="torchvision:resnet18@IMAGENET1K_V1+torchvision:mobilenet_v2@IMAGENET1K_V1"
    "+torchvision:efficientnet_b0@IMAGENET1K_V1",
    steps=2_000,
    statistics_weight=0.01,
    smallest_crop=0.08,
    flip=True,
    roll_to=32,
    chunk=100,  # of the 1,000 images of a group; the gradient is that of all together
    temperature=20.0,
)

PRESETS = {
    "released-cifar": Preset(Config(), "authors' scripts for CIFAR-10 and CIFAR-100"),
    "released-cifar-dynamic": Preset(Config(labels="teacher"), "authors' scripts for CIFAR-10 and CIFAR-100, +Dyn"),
    "tiny-imagenet": Preset(
        Config(teacher_recipe="sre2l-tiny", teacher_epochs=50),
        "settings of the CIFAR scripts; those for Tiny-ImageNet are not public; +Dyn is labels=teacher",
    ),
    "released-imagenet": Preset(
        _IMAGENET, "authors' script for ImageNet-1K; its labels' temperature is that of SRe2L's protocol, not stated"
    ),
    "released-imagenet-dynamic": Preset(replace(_IMAGENET, labels="teacher"), "the same, +Dyn"),
    "cpu": Preset(
        Config(
            teachers="convnet-d2:norm=batch,width=16+convnet-d1:norm=batch,width=16",
            teacher_recipe="tiny-images",
            teacher_epochs=10,
            steps=30,
            roll_to=1,
        ),
        "two cores, digits",
        distill_seconds=9.0,
        judge_seconds=4.0,
    ),
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Draws K real images of each class, makes a compensator for each group and network, and labels all, Alg. 1."""
    members, groups = _members(config), _groups(train, budget, config)  # M, K
    space = preprocessing.fit("normalise", train)
    wise = teachers.committee(config.teachers, train, space, _training(train, config), run)
    rows = random_indices(train, [groups] * train.n_classes, run.rng("initial"))  # sorted by class
    pixels = train.take(rows).cpu()

    settings = Synthesis.of(config)
    views, descent = settings.views(train.flips), settings.descent()
    observed = recovery.observe(wise, space, run)
    jobs = run.jobs("compensate", [(member, group) for member in range(members) for group in range(groups)])
    for job in jobs:
        member, group = job.item
        objective = settings.objective([observed[member]], [1.0], run)
        images = space.forward(pixels[group::groups].to(run.device))  # G_k, one of each class  (C, ch, H, W)
        job.save(compensator=compensator(images, objective, views, descent, job))

    extras: dict[str, Tensor] = {}
    expansion: dict[str, Any] = {"kind": "plain"}
    if members:
        extras = packed(torch.cat([result["compensator"] for result in jobs.results()]))
        expansion = {"kind": KIND, "groups": groups}
    classes = torch.arange(train.n_classes).repeat_interleave(groups).repeat(1 + members)  # of all images of the view
    made = DistilledSet.synthetic(pixels, classes, train, space, extras=extras, expansion=expansion)
    recipe = _labels(config)
    labels = label(recipe, made.view(), classes, train, space, run, wise=wise)
    return replace(made, labels=labels, provenance=provenance(recipe, wise))


def _members(config: Config) -> int:
    return len(teachers.members(config.teachers)) if config.compensate else 0


def _groups(train: Split, budget: Budget, config: Config) -> int:
    """K for this split.

    Raises:
        Unsuitable: when that is none, or a class has fewer real images.
    """
    counts = train.class_counts()
    groups = group_count(sum(budget.wanted(counts)), train.n_classes, _members(config))
    if groups > min(counts):
        raise Unsuitable(
            f"the budget makes {groups} groups of one real image of every class, and the class "
            f"{train.classes[counts.index(min(counts))]!r} has {min(counts)} images; lower it"
        )
    return groups


def group_count(images: int, n_classes: int, members: int) -> int:
    """K, so that K images of each class and K * M compensators are no more images than the budget has.

    For a budget of ipc images per class that is floor(ipc / (M / C + 1)).

    Raises:
        Unsuitable: when that is none.
    """
    if images < n_classes + members:
        raise Unsuitable(
            f"one image of each of {n_classes} classes and {members} compensators are more than the {images} images of "
            "the budget; raise it, or use fewer teachers"
        )
    return images // (n_classes + members)


def compensator(images: Tensor, objective: Objective, views: Views, descent: Descent, job: Job) -> Tensor:
    """u (1, ch, H, W), which added to one image of each class (C, ch, H, W) lowers the loss of all of them."""
    labels = torch.arange(len(images), device=images.device)
    shift = torch.zeros_like(images[:1]).requires_grad_()  # u
    optimizer = torch.optim.Adam([shift], lr=descent.lr, betas=descent.betas, eps=descent.eps)
    for step in job.run.loop("descend", descent.steps, job.run.state(shift=shift, optimizer=optimizer)):
        for group in optimizer.param_groups:
            group["lr"] = descent.rate(step)
        seen = views(images + shift, step, job.run.rng("view", step))
        found, gradient = objective.gradient(seen, labels)
        optimizer.zero_grad()
        seen.backward(gradient)
        optimizer.step()
        job.run.log(loss=found.total, cross_entropy=found.cross_entropy, statistics=found.statistics)
    return shift.detach().cpu()


def _training(train: Split, config: Config) -> Recipe:
    return teachers.recipe(config.teacher_recipe, flips=train.flips, epochs=config.teacher_epochs)


def _labels(config: Config) -> LabelRecipe:
    return LabelRecipe.of(config, config.teachers, config.teacher_recipe, config.teacher_epochs)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """Training the teachers, a forward pass and input gradient of each on every group and step, and their labels."""
    stored = _groups(train, budget, config) * train.n_classes
    settings = replace(Synthesis.of(config), batch=train.n_classes)  # a group is descended together
    asking = answering_cost(_labels(config), train, stored * (1 + _members(config)))
    if not config.compensate:
        settings = replace(settings, steps=0)
    return recovery.cost(train, config.teachers, _training(train, config), settings, stored, asking)
