"""Mixing each image, and its target, with another image of the batch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from condense.augment.augmentation import plain_spec
from condense.augment.colour import inside
from condense.errors import BadInput
from condense.sending import send


@dataclass(frozen=True)
class Mix:
    """What was drawn for one batch.

    partner: (B,) int64, the position in the batch of the image mixed into each.
    weight: the part of a target that stays the image's own, in [0, 1]; a number, a scalar tensor or (B,).
    box: (4,) int64, top, left, height, width of the patch taken from the partner; None for a weighted sum.
    """

    partner: Tensor
    weight: float | Tensor
    box: Tensor | None = None


@dataclass(frozen=True)
class Mixing(ABC):
    """Draws a `Mix` for a batch and applies it.

    Raises:
        BadInput: for an alpha that is not positive, or a probability outside [0, 1].
    """

    kind: ClassVar[str]

    alpha: float = 1.0  # the weight is drawn from Beta(alpha, alpha), once a batch
    probability: float = 1.0  # of mixing a batch at all
    of_logits: bool = False  # targets that are logits are mixed before their softmax (INFER), not after it

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise BadInput(f"alpha must be a positive number, got {self.alpha!r}")
        if not 0 <= self.probability <= 1:
            raise BadInput(f"probability must lie in [0, 1], got {self.probability!r}")

    def draw(self, count: int, shape: Sequence[int], generator: torch.Generator) -> Mix:
        """A mix for `count` images of `shape` (C, H, W); on the CPU. A batch left alone has itself as partner."""
        # All numbers are drawn in any case, so that the next batch does not depend on what happened to this one.
        partner = torch.randperm(count, generator=generator)
        chance, row, column = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        # torch draws from Beta only with the global generator.
        seed = int(torch.randint(2**62, (1,), generator=generator))
        weight = float(np.random.default_rng(seed).beta(self.alpha, self.alpha))
        if chance >= self.probability:
            return Mix(torch.arange(count), 1.0)
        return self._mix(partner, weight, shape, (row, column))

    def at(self, numbers: Sequence[float], partner: Tensor, shape: Sequence[int]) -> Mix:
        """The mix that three numbers in [0, 1) stand for, for draws that are made elsewhere.

        numbers: the weight's place in its distribution, then row and column of the centre of a box.
        """
        weight = numbers[0]
        if self.alpha != 1.0:
            from scipy.special import betaincinv

            weight = float(betaincinv(self.alpha, self.alpha, weight))
        return self._mix(partner, weight, shape, (numbers[1], numbers[2]))

    @abstractmethod
    def _mix(self, partner: Tensor, weight: float, shape: Sequence[int], centre: tuple[float, float]) -> Mix: ...

    def apply(self, images: Tensor, mix: Mix) -> Tensor:
        """The mixed images (B, C, H, W); a patch where the mix has a box, a weighted sum where it has none."""
        _check_count(images, mix)
        partners = images[send(mix.partner, images.device)]
        if mix.box is None:
            return _weighted(images, partners, mix.weight)
        top, left, height, width = send(mix.box, images.device).view(4, 1)
        rows = inside(images.shape[2], top, height)  # (1, H)
        columns = inside(images.shape[3], left, width)  # (1, W)
        return torch.where(rows[:, None, :, None] & columns[:, None, None, :], partners, images)

    def spec(self) -> dict[str, Any]:
        """Kind and fields as JSON values, which `condense.augment.mixing_from_spec` reads."""
        return plain_spec(self.kind, self)


@dataclass(frozen=True)
class MixUp(Mixing):
    """Weighted sums of two images: weight * x + (1 - weight) * x[partner].

    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, https://arxiv.org/abs/1710.09412.
    """

    kind: ClassVar[str] = "mixup"

    def _mix(self, partner: Tensor, weight: float, shape: Sequence[int], centre: tuple[float, float]) -> Mix:
        return Mix(partner, weight)


@dataclass(frozen=True)
class CutMix(Mixing):
    """A box of the partner's pixels; the weight is the part of the image that stays its own.

    Yun et al., "CutMix", ICCV 2019, https://arxiv.org/abs/1905.04899, Eq. 2: the box has the part 1 - weight of the
    image's area and a centre uniform over the image, is cut at the border, and the weight is then counted anew.
    """

    kind: ClassVar[str] = "cutmix"

    def _mix(self, partner: Tensor, weight: float, shape: Sequence[int], centre: tuple[float, float]) -> Mix:
        size = shape[-2:]
        box: list[tuple[int, int]] = []  # first place and length along each side
        for side, place in zip(size, centre, strict=True):
            middle, length = int(place * side), int(side * math.sqrt(1 - weight))
            first = max(0, middle - length // 2)
            box.append((first, min(side, middle - length // 2 + length) - first))
        (top, height), (left, width) = box
        return Mix(partner, 1 - height * width / math.prod(size), torch.tensor([top, left, height, width]))


def mix_targets(targets: Tensor, mix: Mix, classes: int | None = None) -> Tensor:
    """Targets of mixed images: weight * t + (1 - weight) * t[partner].

    targets: (B, K) one-hot or probabilities, or (B,) class indices together with the number of `classes`.
    Returns (B, K).

    Raises:
        BadInput: for class indices without `classes`, or another number of targets than the mix has partners.
    """
    _check_count(targets, mix)
    if targets.ndim == 1:
        if classes is None or targets.is_floating_point():
            raise BadInput(
                "class indices become targets (B, K) only as int64 and with the number of classes; give both"
            )
        targets = torch.nn.functional.one_hot(targets, classes).to(torch.get_default_dtype())
    return _weighted(targets, targets[send(mix.partner, targets.device)], mix.weight)


def _weighted(own: Tensor, other: Tensor, weight: float | Tensor) -> Tensor:
    if isinstance(weight, Tensor):
        weight = weight.to(own).reshape(-1, *[1] * (own.ndim - 1))
    return torch.lerp(other, own, weight)


def _check_count(batch: Tensor, mix: Mix) -> None:
    if len(batch) != len(mix.partner):
        raise BadInput(f"the mix is for a batch of {len(mix.partner)}, got {len(batch)}; draw it with that count")
