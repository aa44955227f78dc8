"""What every augmentation offers, and augmentations as JSON."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from condense.augment.draw import Draw
from condense.errors import BadInput


class HasFlips(Protocol):
    """A split, as far as an augmentation needs to know it: whether a mirror image keeps its class."""

    @property
    def flips(self) -> bool: ...


def require_flips(split: HasFlips, switch: str) -> None:
    """Raises BadInput, naming the switch that asks for mirror images, unless these keep the split's classes."""
    if not split.flips:
        raise BadInput(f"{switch} adds mirror images, which change the class of this data (as of digits); leave it off")


@dataclass(frozen=True)
class Augmentation(ABC):
    """Random changes of images (B, C, H, W), in two parts: `draw` from a generator, `apply` without randomness.

    `apply` is differentiable with respect to the images, keeps their device, dtype and shape, and has no loop over
    images. Images are in preprocessed space, where 0, with which borders are filled, is the mean colour.
    """

    kind: ClassVar[str]

    @abstractmethod
    def draw(self, count: int, shape: Sequence[int], generator: torch.Generator, *, shared: bool = False) -> Draw:
        """Draws for `count` images of `shape` (C, H, W); one draw for all of them when `shared`."""

    @abstractmethod
    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """The augmented images. Raises BadInput for images that are not a floating-point batch of the draw's size."""

    @abstractmethod
    def without_flip(self) -> Self:
        """The same augmentation without mirroring, for data whose classes a mirror changes."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draws for each image and applies."""
        return self.apply(images, self.draw(len(images), images.shape[1:], generator))

    @classmethod
    def for_split(cls, split: HasFlips, **fields: Any) -> Self:
        """This augmentation for a data set: without mirroring where a mirror image does not keep its class."""
        augmentation = cls(**fields)
        return augmentation if split.flips else augmentation.without_flip()

    def spec(self) -> dict[str, Any]:
        """Kind and fields as JSON values, which `condense.augment.from_spec` reads."""
        return plain_spec(self.kind, self)


@dataclass(frozen=True)
class NoAugmentation(Augmentation):
    """Leaves the images as they are."""

    kind: ClassVar[str] = "none"

    def draw(self, count: int, shape: Sequence[int], generator: torch.Generator, *, shared: bool = False) -> Draw:
        return Draw(torch.empty(1 if shared else count, 0, dtype=torch.float64), shared=shared)

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        draw.check_fits(images)
        return images

    def without_flip(self) -> Self:
        return self


def plain_spec(kind: str, instance: Any) -> dict[str, Any]:
    """Kind and dataclass fields, tuples as lists."""
    fields = {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}
    return {"kind": kind} | {name: list(item) if isinstance(item, tuple) else item for name, item in fields.items()}
