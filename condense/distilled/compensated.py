"""Compensated images: K stored images of each class, each as it is and plus each of M compensators.

Zhang et al., "Inter-Class Feature Compensator", ICLR 2025, arXiv 2408.06927, Sec. 3.2: one compensator, of the size of
one image, is added to an image of every class. So K * (C + M) images' worth of bytes stand for K * (M + 1) * C images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from condense import stated
from condense.distilled.views import Stored, View, register
from condense.errors import BadInput

KIND = "compensated"
_LEVELS = 255


@dataclass(frozen=True, eq=False)
class CompensatedView:
    """The stored images, and then all of them with the first compensator of their group, with the second, ...

    Args:
        stored: K images of each class, sorted by class; the k-th of every class are group k.
        compensators: (M * K, C, H, W) in preprocessed space, those of all groups by the first network first.
        groups: K.

    Raises:
        BadInput: for compensators that are not one for each group and network.
    """

    stored: Stored
    compensators: Tensor
    groups: int

    def __post_init__(self) -> None:
        if self.groups < 1 or len(self.stored) % self.groups or len(self.compensators) % self.groups:
            raise BadInput(
                f"{len(self.compensators)} compensators and {len(self.stored)} images do not make {self.groups} "
                "groups; a group has one image of each class, and one compensator by each network"
            )

    def __len__(self) -> int:
        return len(self.stored) * (1 + len(self.compensators) // self.groups)

    def gather(self, indices: Tensor, device: torch.device | str | None = None) -> Tensor:
        place = self.compensators.device
        rows = indices.to(place) % len(self.stored)
        network = indices.to(place) // len(self.stored) - 1  # -1: the image as it is
        images = self.stored.prepare(self.stored.raw(rows))
        own = self.compensators[network.clamp(min=0) * self.groups + rows % self.groups].to(images)
        added = torch.maximum(torch.minimum(images + own, self._ends[1].to(images)), self._ends[0].to(images))
        return torch.where((network >= 0).to(images.device)[:, None, None, None], added, images).to(device)

    @cached_property
    def _ends(self) -> Tensor:
        """What black and white are in preprocessed space, (2, C, H, W): sums are cut there."""
        pixels = torch.zeros((2, *self.compensators.shape[1:]), dtype=torch.uint8, device=self.compensators.device)
        pixels[1] = _LEVELS
        return self.stored.prepare(pixels)


def packed(compensators: Tensor) -> dict[str, Tensor]:
    """Compensators (N, C, H, W) as extras of a set: a byte for each value, an offset and a step for each."""
    flat = compensators.flatten(1)
    low, high = flat.amin(1), flat.amax(1)
    step = ((high - low) / _LEVELS).clamp(min=torch.finfo(flat.dtype).tiny)
    levels = ((flat - low[:, None]) / step[:, None]).round().clamp(0, _LEVELS).to(torch.uint8)
    return {"compensators": levels.view(compensators.shape), "offset": low.float(), "step": step.float()}


def unpacked(extras: Mapping[str, Tensor]) -> Tensor:
    """(N, C, H, W) float32, within half a step of what `packed` was given."""
    offset, step = (extras[name].view(-1, 1, 1, 1) for name in ("offset", "step"))
    return extras["compensators"].float() * step + offset


def _expand(stored: Stored, extras: Mapping[str, Tensor], expansion: Mapping[str, Any]) -> View:
    groups = stated.read(_Spec, dict(expansion), "expansion").groups
    return CompensatedView(stored, unpacked(extras), groups)


class _Spec(stated.Fields):
    kind: str
    groups: int


register(KIND, _expand)
