"""Ingredients shared by the methods that match synthetic images to real ones.

Letters: K classes, B real images drawn of each class, M synthetic images, C H W channels, height, width, D features.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from condense.augment import DSA, Augmentation, NoAugmentation
from condense.budget import Budget
from condense.data import Split
from condense.errors import BadInput
from condense.preprocessing import Preprocessing
from condense.sending import beside

Initial = Literal["real", "noise"]


def initial_images(
    train: Split, budget: Budget, preprocessing: Preprocessing, generator: torch.Generator, kind: Initial
) -> tuple[Tensor, Tensor]:
    """The synthetic set before the first step: images (M, C, H, W) in preprocessed space, by class, and labels (M,).

    real: randomly chosen real images of each class. noise: standard normal draws.

    Raises:
        BadInput: for another kind, or a class with fewer real images than `real` asks for.
    """
    counts = budget.counts(train.class_counts(), train.classes)
    labels = torch.repeat_interleave(torch.arange(train.n_classes), torch.tensor(counts))
    if kind == "real":
        images = preprocessing.forward(train.take(random_indices(train, counts, generator)))
    elif kind == "noise":
        images = torch.randn((len(labels), *train.shape), generator=generator).to(train.device)
    else:
        raise BadInput(f"initial must be 'real' or 'noise', got {kind!r}")
    return images, labels.to(images.device)


def random_indices(train: Split, counts: Iterable[int], generator: torch.Generator) -> Tensor:
    """Rows of `train`: counts[k] of class k without replacement, sorted by class.  (M,) int64."""
    chosen = []
    for label, count in enumerate(counts):
        members = train.of_class(label)
        chosen.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(chosen)


def siamese(train: Split, augment: bool, *, flip_first: bool, **fields: Any) -> Augmentation:
    """What real and synthetic images are augmented with by the same draws: DSA of these `fields`, or nothing.

    Raises:
        BadInput: for `flip_first` without augmentation, or for data whose classes a mirror image changes.
    """
    if augment:
        return DSA.for_split(train, flip_first=flip_first, **fields)
    if flip_first:
        raise BadInput("flip_first changes an augmentation that is switched off; set augment=true, or leave it off")
    return NoAugmentation()


def random_rows(count: int, size: int, generator: torch.Generator) -> Tensor:
    """`size` of `count` rows without repetition, or all of them in a random order when there are not more.  int64."""
    return torch.randperm(count, generator=generator)[:size]


class RealBatches:
    """Draws the same number of real images of every class, all classes in one gather.

    Pixels are preprocessed once when the whole split fits into `resident_bytes` as float32 and preprocessing is
    costly (ZCA is a (C*H*W)² product per image), else batch by batch; the values are the same.
    """

    def __init__(self, train: Split, preprocessing: Preprocessing, *, resident_bytes: int = 2**30):
        self._train = train
        self._preprocessing = preprocessing
        counts = torch.tensor(train.class_counts())
        if not bool((counts > 0).all()):
            empty = train.classes[int((counts == 0).nonzero()[0])]
            raise BadInput(f"class {empty!r} has no training image; leave it out with a class subset")
        self._members = torch.zeros((len(counts), int(counts.max())), dtype=torch.int64)  # (K, largest class)
        for label, count in enumerate(counts.tolist()):
            self._members[label, :count] = train.of_class(label)
        self._counts = counts[:, None]  # (K, 1)
        size = len(train) * train.shape[0] * train.shape[1] * train.shape[2] * 4
        self._resident = self._whole() if preprocessing.kind == "zca" and size <= resident_bytes else None

    def draw(self, per_class: int, generator: torch.Generator) -> Tensor:
        """(K, B, C, H, W) in preprocessed space; no image twice before every image of its class was drawn once."""
        keys = torch.rand(self._members.shape, generator=generator)
        keys[torch.arange(keys.shape[1]) >= self._counts] = 2.0  # padding sorts last
        longest = min(per_class, keys.shape[1])
        order = keys.topk(longest, dim=1, largest=False).indices  # (K, <=B)
        # A class smaller than B is passed through again in the same order.
        columns = torch.arange(per_class) % torch.clamp(self._counts, max=longest)  # (K, B)
        indices = self._members.gather(1, order.gather(1, columns)).flatten()  # (K*B,)
        if self._resident is not None:
            pixels = self._resident[beside(indices, self._resident.device)]
        else:
            pixels = self._preprocessing.forward(self._train.take(indices))
        return pixels.unflatten(0, (-1, per_class))

    def _whole(self) -> Tensor:
        images = torch.empty((len(self._train), *self._train.shape), device=self._train.device)
        for rows in torch.arange(len(images)).split(4096):
            images[rows[0] : rows[-1] + 1] = self._preprocessing.forward(self._train.take(rows))
        return images


def averaging(labels: Tensor, n_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The (K, M) matrix whose product with features (M, D) is the class means (K, D)."""
    membership = torch.nn.functional.one_hot(labels, n_classes).T.to(dtype)  # (K, M)
    return membership / membership.sum(dim=1, keepdim=True)


def squared_gap(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distance summed over every axis.  A scalar."""
    return (first - second).square().sum()


def spatial_attention(maps: Tensor, power: float, epsilon: float = 1e-12) -> Tensor:
    """Channel-pooled attention of feature maps, unit length per image (DataDAM, eq. 2).

    maps: (N, C, h, w).  Returns (N, h*w): sum over channels of |maps|^power, divided by its Euclidean norm.
    """
    # Half precision overflows at |a|^4: the pooling is done in float32 at least.
    wide = maps if maps.dtype == torch.float64 else maps.float()
    if power in (2.0, 4.0):  # the general power is ten times slower than a product
        powered = wide.square() if power == 2.0 else wide.square().square()
    else:
        powered = wide.abs().pow(power)
    pooled = powered.sum(dim=1).flatten(1)
    return pooled / pooled.norm(dim=1, keepdim=True).clamp_min(epsilon)


def gradient_distance(real: Iterable[Tensor], synthetic: Iterable[Tensor]) -> Tensor:
    """Sum over layers and output rows of one minus the cosine between two gradients (DC, eq. 9).

    real, synthetic: gradients of the parameters, in the same order.  Vectors (biases, norm parameters) do not
    count, as in the authors' code.  A scalar.
    """
    gaps = []
    for ours, theirs in zip(synthetic, real, strict=True):
        if ours.ndim < 2:
            continue
        ours, theirs = ours.flatten(1), theirs.flatten(1)  # (rows, fan in)
        lengths = ours.norm(dim=1) * theirs.norm(dim=1)
        gaps.append((1 - (ours * theirs).sum(dim=1) / (lengths + 1e-6)).sum())
    return functools.reduce(torch.add, gaps)


@torch.no_grad()
def mean_embeddings(embed: Callable[[Tensor], Tensor], batch: Tensor, chunk: int | None) -> Tensor:
    """Class means of the embeddings of a real batch.  batch: (K, B, C, H, W).  Returns (K, D).

    chunk: images embedded at once, which bounds the memory; None for all, which a network with batch statistics
    needs, because its output for an image depends on every other one.
    """
    flat = batch.flatten(0, 1)
    parts = [flat] if chunk is None else flat.split(chunk)
    embedded = torch.cat([embed(part) for part in parts])
    return embedded.unflatten(0, batch.shape[:2]).mean(dim=1)
