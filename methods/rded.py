"""RDED: real patches that a trained network recognises best, several of them in each image.

Sun, Shi, Yu & Lin, "On the Diversity and Realism of Distilled Dataset: An Efficient Dataset Distillation Paradigm",
CVPR 2024, https://arxiv.org/abs/2312.03526, Alg. 1.

Departures from the paper:
    - a crop is resized to the whole image and from there, with antialiasing, to its cell (authors' code: in one step).
    - pixels are kept as they are, rounded (authors' code: as JPEG files, cut to whole numbers).
    - a class with fewer images than patches gives the second-best crop of each image after all best ones, and so on
      (authors' code: fails).
    - images are normalised by the data set's own mean and deviation (authors' code: ImageNet's, for every data set).
    - the observer is trained on nine tenths of the training split (authors: checkpoints whose recipe is not stated).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condense import networks, preprocessing, teachers
from condense.augment import RandomResizedCrop
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.errors import BadInput
from condense.method import Cost, Count, Method, Positive, Preset
from condense.networks.layers import Shape
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.soft_labels import LabelRecipe, answering_cost, labelled
from condense.training import Recipe

_CHUNK = 256  # patches scored at once

ABOUT = Method(
    title="RDED",
    paper="Sun et al., On the Diversity and Realism of Distilled Dataset, CVPR 2024",
    url="https://arxiv.org/abs/2312.03526",
    family="decoupled",
    kind="synthetic",
    ingredients={"factor": 2, "crops": 1, "rank": False, "labels": "hard"},
)


@dataclass(frozen=True)
class Config:
    observer: str = "resnet18:norm=batch"  # phi_theta*, scores patches and labels images
    training: str = "sre2l-cifar"  # how an observer without given weights is trained: a recipe of condense.teachers
    training_epochs: int = 200  # of that training
    factor: Count = 1  # sqrt(N), patches along each side of an image; 2 for images of 224 pixels
    pool: Count = 300  # |T'_c|, real images of each class that patches are cut from; more where more patches are needed
    crops: Count = 5  # K, patches cut from each of them, of which the best is kept
    min_scale: float = 0.08  # smallest area of a patch, as a part of its image
    rank: bool = True  # take the patches that the observer recognises best; otherwise the first ones
    labels: Literal["teacher", "fixed", "hard"] = "teacher"  # asked while training (teacher), or one for each image
    temperature: Positive = 20.0  # T, softens the observer's answers


PRESETS = {
    "cifar": Preset(Config(), "authors' scripts for CIFAR-10 and CIFAR-100, ResNet-18"),
    "cifar-conv3": Preset(
        Config(observer="convnet-d3:norm=batch"), "authors' scripts for CIFAR-10 and CIFAR-100, Conv-3"
    ),
    "tiny-imagenet": Preset(
        Config(training="sre2l-tiny", training_epochs=50), "authors' scripts for Tiny-ImageNet, ResNet-18"
    ),
    "imagenet-1k": Preset(
        Config(observer="torchvision:resnet18@IMAGENET1K_V1", factor=2), "authors' scripts for ImageNet-1K, ResNet-18"
    ),
    "cpu": Preset(
        Config(
            observer="convnet:norm=batch,width=16",
            training="tiny-images",
            training_epochs=20,
            pool=100,
            min_scale=0.5,
        ),
        "two cores, digits",
        distill_seconds=6.0,
        judge_seconds=4.0,
    ),
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Cuts, scores, selects and stitches patches of each class, then labels the images, Alg. 1."""
    plan = _plan(train, budget, config)
    space = preprocessing.fit("normalise", train)
    observer = teachers.teacher(config.observer, train, space, _training(train, config), run)
    network = run.place(observer.module())  # phi_theta*
    jobs = run.jobs("class", range(train.n_classes))
    for job in jobs:
        members, (size, wanted) = train.of_class(job.item), plan[job.item]
        order = torch.randperm(len(members), generator=job.rng("pool"))
        pool = members[order[:size]]  # T'_c
        patches = cut(train, pool, config, job.rng("crop"))  # (P, K, C, h, w)
        scores = realism(network, patches, job.item, train.shape, observer.preprocessing)  # (P, K)
        chosen = select(patches, scores, wanted, config.rank)
        job.save(pixels=stitch(chosen, config.factor, train.shape))
    pixels = torch.cat([result["pixels"] for result in jobs.results()])
    classes = torch.repeat_interleave(torch.arange(train.n_classes), torch.tensor(budget.counts(train.class_counts())))

    return labelled(_labels(config), pixels, classes, [observer], train, space, run)


def cut(train: Split, pool: Tensor, config: Config, generator: torch.Generator) -> Tensor:
    """Random crops of the shape of an image, at the size of a patch, of the images `pool` (P,).

    Returns (P, K, C, h, w) floats in [0, 1].
    """
    shape = train.shape[2] / train.shape[1]  # wide by high
    crop = RandomResizedCrop((config.min_scale, 1.0), ratio=(shape, shape), flip=False)
    images = train.take(pool).float() / 255
    height, width = train.shape[1] // config.factor, train.shape[2] // config.factor
    # One crop of full size in memory beside the images.
    sized = [
        F.interpolate(crop(images, generator), (height, width), mode="bilinear", antialias=True)
        for _ in range(config.crops)
    ]
    return torch.stack(sized, dim=1)


@torch.no_grad()
def realism(network: nn.Module, patches: Tensor, label: int, shape: Shape, space: Preprocessing) -> Tensor:
    """Cross-entropy (P, K) of each patch, shown in the middle of an image (C, H, W) of the mean colour; low is real."""
    device = next(network.parameters()).device
    top, left = (shape[1] - patches.shape[3]) // 2, (shape[2] - patches.shape[4]) // 2
    below, right = shape[1] - patches.shape[3] - top, shape[2] - patches.shape[4] - left
    losses = []
    for part in patches.flatten(0, 1).split(_CHUNK):
        shown = F.pad(space.forward(part), (left, right, top, below)).to(device)
        logits = network(shown).float()
        losses.append(F.cross_entropy(logits, logits.new_full((len(part),), label).long(), reduction="none").cpu())
    return torch.cat(losses).view(patches.shape[:2])


def select(patches: Tensor, scores: Tensor, count: int, rank: bool) -> Tensor:
    """The best patch of each image, the best images first; then the second-best patch of each, and so on.

    patches: (P, K, C, h, w), at least `count` in all.  scores: (P, K).  Returns (count, C, h, w).
    """
    if not rank:
        return patches.transpose(0, 1).flatten(0, 1)[:count]
    within, places = scores.sort(dim=1, stable=True)  # (P, K), the best patch of each image in column 0
    order = within.argsort(dim=0, stable=True)  # (P, K), the best image of each column in row 0
    images = order.T.flatten()[:count]
    columns = torch.arange(scores.shape[1]).repeat_interleave(scores.shape[0])[:count]
    return patches.to(scores.device)[images, places[images, columns]]


def stitch(patches: Tensor, factor: int, shape: Shape) -> Tensor:
    """Images of factor x factor patches: the best ones fill the first cell of every image, the next ones the second.

    patches: (M * factor^2, C, h, w) in [0, 1].  Returns (M, C, H, W) uint8.
    """
    cells = patches.unflatten(0, (factor**2, -1))  # (cells, M, C, h, w)
    heights, widths = (_lengths(side, factor) for side in shape[1:])
    rows = []
    for row, height in enumerate(heights):
        parts = [F.interpolate(cells[row * factor + column], (height, width)) for column, width in enumerate(widths)]
        rows.append(torch.cat(parts, dim=3))
    return (torch.cat(rows, dim=2).clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def _lengths(side: int, parts: int) -> list[int]:
    """`side` as a sum of whole numbers that differ by one at most, the longer ones first."""
    least, longer = divmod(side, parts)
    return [least + (index < longer) for index in range(parts)]


def _plan(train: Split, budget: Budget, config: Config) -> list[tuple[int, int]]:
    """Of each class, |T'_c| and the number of patches that its images need.

    Raises:
        BadInput: for settings that would fail once the observer has been trained.
    """
    side = min(train.shape[1:])
    if config.factor > side:
        raise BadInput(f"images of {side} pixels cannot hold factor={config.factor} patches along a side; lower factor")
    if not 0 < config.min_scale <= 1:
        raise BadInput(f"min_scale is an area in (0, 1], got {config.min_scale}")
    members = train.class_counts()
    needed = [images * config.factor**2 for images in budget.counts(members, train.classes)]
    pools = [min(count, max(config.pool, patches)) for count, patches in zip(members, needed, strict=True)]
    for name, pool, patches in zip(train.classes, pools, needed, strict=True):
        if pool * config.crops < patches:
            raise BadInput(
                f"the class {name!r} needs {patches} patches, and crops={config.crops} of each of its {pool} images "
                f"are {pool * config.crops}; lower factor or the budget, or raise crops"
            )
    return list(zip(pools, needed, strict=True))


def _training(train: Split, config: Config) -> Recipe:
    return teachers.recipe(config.training, flips=train.flips, epochs=config.training_epochs)


def _labels(config: Config) -> LabelRecipe:
    return LabelRecipe.of(config, config.observer, config.training, config.training_epochs)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """The training of the observer, a forward pass over every patch, and its labels."""
    training = teachers.committee_cost(config.observer, train, _training(train, config))
    plan = _plan(train, budget, config)
    work = networks.work(config.observer.partition("@")[0], train.shape, train.n_classes)
    patches = sum(pool for pool, _ in plan) * config.crops
    asking = answering_cost(_labels(config), train, sum(budget.counts(train.class_counts())))
    return Cost(
        shared_operations=training.operations,
        operations=training.operations + work.operations * patches + asking.operations,
        memory_bytes=max(training.memory_bytes, float(work.activation_bytes * _CHUNK), asking.memory_bytes),
        disk_bytes=asking.disk_bytes,
    )
