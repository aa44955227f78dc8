"""Synthetic images and soft labels to start from, chosen by trained experts.

Letters: K classes, M synthetic images, n images of one class, E experts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from condense.budget import Budget
from condense.clustering import cluster, nearest_to_centres
from condense.data import Split
from condense.experts import Experts
from condense.matching import random_indices
from condense.preprocessing import Preprocessing
from condense.run import Run

Answer = Callable[[Tensor], Tensor]  # one trained expert: images (B, C, H, W) -> logits (B, K)

_CHUNK = 256  # images that an expert looks at together
_RESTARTS = 3  # seedings of k-means


class Recognised(NamedTuple):
    """Real images to start from, and for how many of them no expert knew the class."""

    indices: Tensor  # (M,) rows of the training split, by class
    strangers: int


class Start(NamedTuple):
    """Real images with what experts say of them, and how many of them no expert recognised."""

    images: Tensor  # (M, C, H, W) in preprocessed space
    classes: Tensor  # (M,)
    logits: Tensor  # (M, K)
    unrecognised: int


def answers(experts: Experts) -> list[Answer]:
    """Every expert after its last epoch.  Parameters are read when it is asked."""

    def of(number: int) -> Answer:
        return lambda images: experts.network.call(experts.at(number, experts.epochs), images)

    return [of(number) for number in range(len(experts))]


def chosen_once(run: Run, choose: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What is chosen to start from, on the CPU; a run that is continued finds it and asks no expert again."""
    jobs = run.jobs("start", ["choice"])
    for job in jobs:
        job.save(**choose())
    return jobs.result(0)


@torch.no_grad()
def logits_of(answer: Answer, images: Tensor) -> Tensor:
    """Logits (M, K) of images (M, C, H, W), a few at a time."""
    return torch.cat([answer(part) for part in images.split(_CHUNK)])


def labelled_start(
    train: Split, budget: Budget, space: Preprocessing, experts: Sequence[Answer], recognised: bool, run: Run
) -> Start:
    """Real images and label logits to learn from (DATM), chosen once for a run.

    recognised: images that an expert classifies correctly, with the mean logits of the experts that do; otherwise any
        images, with the logits of one expert (the authors' choice for CIFAR-100, IPC 50).
    """
    counts = budget.counts(train.class_counts(), train.classes)

    def choose() -> dict[str, Tensor]:
        if recognised:
            indices, strangers = correctly_classified(train, space, counts, experts, run.rng("initial"))
        else:
            indices, strangers = random_indices(train, counts, run.rng("initial")), 0
        images = space.forward(train.take(indices))
        classes = train.labels[indices].to(images.device)
        logits = averaged_logits(images, classes, experts) if recognised else logits_of(experts[0], images)
        return {"indices": indices, "logits": logits, "strangers": torch.tensor(strangers)}

    chosen = chosen_once(run, choose)
    images = space.forward(train.take(chosen["indices"]))
    classes = train.labels[chosen["indices"]].to(images.device)
    return Start(images, classes, chosen["logits"].to(images.device), int(chosen["strangers"]))


@torch.no_grad()
def correctly_classified(
    train: Split, space: Preprocessing, counts: Sequence[int], experts: Sequence[Answer], generator: torch.Generator
) -> Recognised:
    """Random real images that an expert classifies correctly: counts[k] of class k (DATM).

    The first expert chooses; where it recognises too few images of a class, the next one looks at the rest, and so on.
    Where all of them together recognise too few, others of the class fill up.
    """
    chosen, strangers = [], 0
    for label, count in enumerate(counts):
        members = train.of_class(label)
        rest = members[torch.randperm(len(members), generator=generator)]
        kept = rest[:0]
        for answer in experts:
            if len(kept) == count:
                break
            right = _recognised(train, space, rest, label, count - len(kept), answer)
            kept = torch.cat([kept, right])
            rest = rest[~torch.isin(rest, right)]
        strangers += count - len(kept)
        chosen.append(torch.cat([kept, rest[: count - len(kept)]]))
    return Recognised(torch.cat(chosen), strangers)


def _recognised(train: Split, space: Preprocessing, rows: Tensor, label: int, wanted: int, answer: Answer) -> Tensor:
    """The first `wanted` of `rows` that an expert takes for `label`."""
    kept = rows[:0]
    for part in rows.split(_CHUNK):
        if len(kept) >= wanted:
            break
        kept = torch.cat([kept, part[answer(space.forward(train.take(part))).argmax(1).cpu() == label]])
    return kept[:wanted]


@torch.no_grad()
def averaged_logits(images: Tensor, labels: Tensor, experts: Iterable[Answer]) -> Tensor:
    """Mean logits of the experts that classify an image correctly (DATM).

    images: (M, C, H, W).  labels: (M,).  Returns (M, K), whose largest entry is the label's. Where no expert is
    right, the mean of all of them is taken, with the label's entry and the largest one exchanged.
    """
    every = right = votes = torch.zeros((), device=images.device)
    number = 0
    for answer in experts:
        logits = logits_of(answer, images)
        correct = (logits.argmax(1) == labels)[:, None].to(logits)  # (M, 1)
        every, right, votes = every + logits, right + correct * logits, votes + correct
        number += 1
    mean = torch.where(votes > 0, right / votes.clamp_min(1), every / number)
    rows, top = torch.arange(len(mean), device=mean.device), mean.argmax(1)
    mean[rows, labels], mean[rows, top] = mean[rows, top], mean[rows, labels]
    return mean


@torch.no_grad()
def representative(
    train: Split, space: Preprocessing, counts: Sequence[int], answer: Answer, generator: torch.Generator
) -> Tensor:
    """For each class the real images nearest to the counts[k] k-means centres of an expert's logits (AST).

    Returns rows of `train` (M,), by class.
    """
    chosen = []
    for label, count in enumerate(counts):
        members = train.of_class(label)
        logits = torch.cat([answer(space.forward(train.take(part))).cpu() for part in members.split(_CHUNK)])  # (n, K)
        chosen.append(members[nearest_to_centres(logits, cluster(logits, count, _RESTARTS, generator))])
    return torch.cat(chosen)
