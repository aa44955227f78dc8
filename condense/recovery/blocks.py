"""The images of a set as independent jobs: the k-th image of some classes, one of each, recovered together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from condense import allocator
from condense.preprocessing import Preprocessing
from condense.recovery.objective import Objective
from condense.recovery.views import Views
from condense.run import Job, Run

# Compiled steps of a process after which freed memory is handed back. Compilation leaves small things where the maps of
# the next step would fit, so that the heap grows (100 images of 64 pixels, ResNet-18: 3.5 GiB, 2.9 with this).
_SETTLING = 2


@dataclass(frozen=True)
class Block:
    """The images of one job: the `number`-th of each of `classes`.

    The batch statistics are taken over a block, so its classes are part of the method.
    """

    number: int
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Descent:
    """Adam on the images, with a rate that falls as half a cosine from `lr` to 0."""

    steps: int  # T
    lr: float
    betas: tuple[float, float] = (0.5, 0.9)
    eps: float = 1e-8

    def rate(self, step: int) -> float:
        """Of a step, counted from 0."""
        return self.lr * (1 + math.cos(math.pi * step / self.steps)) / 2


Prepare = Callable[[Job], tuple[Tensor, Objective]]  # first images (B, C, H, W) in `space`, and the loss of this block


def class_blocks(counts: Sequence[int], size: int) -> list[Block]:
    """Blocks of at most `size` consecutive classes, for images 0, 1, ... of the classes that have so many.

    Blocks of one number are as equal as they can be: the batch statistics of the last one are never those of a few
    images that are left over.

    counts: images of each class.
    """
    blocks = []
    for number in range(max(counts)):
        classes = [label for label, count in enumerate(counts) if count > number]
        parts = torch.tensor(classes).tensor_split(math.ceil(len(classes) / size))
        blocks += [Block(number, tuple(part.tolist())) for part in parts]
    return blocks


def recover(
    blocks: Sequence[Block], prepare: Prepare, views: Views, descent: Descent, space: Preprocessing, run: Run
) -> tuple[Tensor, Tensor]:
    """Recovers every block as a job of its own, on any number of workers.

    prepare: called once for a job that is to be done.
    Returns uint8 pixels (M, C, H, W) sorted by class, in the order of their numbers, and labels (M,) int64.
    """
    jobs = run.jobs("recover", blocks)
    for job in jobs:
        images, objective = prepare(job)
        labels = torch.tensor(job.item.classes, device=images.device)
        images = descend(images, labels, objective, views, descent, space, job.run)
        job.save(pixels=to_pixels(images, space))
    order = sorted(
        (label, block.number, at, row) for at, block in enumerate(blocks) for row, label in enumerate(block.classes)
    )
    rows = {(at, row): place for place, (_, _, at, row) in enumerate(order)}
    pixels = None
    for at, block in enumerate(blocks):  # one job's images in memory beside the result
        part = jobs.result(at)["pixels"]
        pixels = part.new_empty((len(order), *part.shape[1:])) if pixels is None else pixels
        pixels[[rows[at, row] for row in range(len(block.classes))]] = part
    assert pixels is not None
    return pixels, torch.tensor([label for label, _, _, _ in order])


def descend(
    images: Tensor,
    labels: Tensor,
    objective: Objective,
    views: Views,
    descent: Descent,
    space: Preprocessing,
    run: Run,
) -> Tensor:
    """The images (B, C, H, W) after `descent.steps` steps, as a loop of `run`.  labels: (B,) int64."""
    images = images.clone().requires_grad_()
    optimizer = torch.optim.Adam([images], lr=descent.lr, betas=descent.betas, eps=descent.eps)
    loop = run.loop("descend", descent.steps, run.state(images=images, optimizer=optimizer))
    for since_start, step in enumerate(loop):
        for group in optimizer.param_groups:
            group["lr"] = descent.rate(step)
        seen = views(images, step, run.rng("view", step))
        found, gradient = objective.gradient(seen, labels)
        optimizer.zero_grad()
        seen.backward(gradient)
        optimizer.step()
        clip_(images, space)
        run.log(loss=found.total, cross_entropy=found.cross_entropy, statistics=found.statistics)
        if run.compiles and since_start < _SETTLING:
            allocator.give_back()
    return images.detach()


@torch.no_grad()
def clip_(images: Tensor, space: Preprocessing) -> None:
    """Puts images (B, C, H, W) of `space`, in place, into the range that pixels in [0, 1] have there."""
    if space.kind == "zca":  # mixes pixels: its range is no box
        images.copy_(space.forward(space.inverse(images).clamp_(0, 1)))
        return
    ends = torch.stack([torch.zeros_like(images[0]), torch.ones_like(images[0])])
    low, high = space.forward(ends)
    images.copy_(torch.minimum(torch.maximum(images, low), high))


def to_pixels(images: Tensor, space: Preprocessing) -> Tensor:
    """Images (B, C, H, W) of `space` as uint8 pixels on the CPU, rounded to the nearest."""
    return (space.inverse(images).clamp(0, 1) * 255).round().to(torch.uint8).cpu()
