"""The two standard augmentations of training on natural images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from condense.augment import geometry
from condense.augment.augmentation import Augmentation
from condense.augment.draw import Draw, uniform_rows, whole
from condense.errors import BadInput


@dataclass(frozen=True)
class CropFlip(Augmentation):
    """A crop of the image padded with zeros, and a mirror image with probability 1/2.

    Raises:
        BadInput: for a negative padding.
    """

    kind: ClassVar[str] = "crop-flip"

    padding: int = 4  # pixels on each side, so shifts lie in [-padding, padding]
    flip: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.padding, bool) or not isinstance(self.padding, int) or self.padding < 0:
            raise BadInput(f"padding must be a whole number of pixels, at least 0, got {self.padding!r}")

    def draw(self, count: int, shape: Sequence[int], generator: torch.Generator, *, shared: bool = False) -> Draw:
        return Draw(uniform_rows(count, 3, generator, shared), shared=shared)

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        draw.check_fits(images)
        down, right, mirrored = draw.uniform.unbind(1)
        shifts = (whole(r, 2 * self.padding + 1) - self.padding for r in (down, right))
        images = geometry.shift(images, *shifts)
        return geometry.mirror(images, mirrored < 0.5) if self.flip else images

    def without_flip(self) -> Self:
        return replace(self, flip=False)


_ATTEMPTS = 10  # boxes tried before the central one, as in torchvision


@dataclass(frozen=True)
class RandomResizedCrop(Augmentation):
    """A box of random area and aspect ratio, resized to the full image, and a mirror image with probability 1/2.

    Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, https://arxiv.org/abs/1409.4842, Sec. 6, with the
    distribution of torchvision's transform of this name: the first of ten tries that fits, else a central box.

    Raises:
        BadInput: for an interval that is empty, or areas beyond the image.
    """

    kind: ClassVar[str] = "random-resized-crop"

    scale: tuple[float, float] = (0.08, 1.0)  # area of the box as a part of the image's
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width : height of the box, drawn evenly in its logarithm
    flip: bool = True
    shuffle: int = 1  # columns, and rows, of the image that change places before (RDED, whose images are mosaics)

    def __post_init__(self) -> None:
        if isinstance(self.shuffle, bool) or self.shuffle < 1:
            raise BadInput(f"shuffle is a number of columns of at least 1, got {self.shuffle!r}; 1 leaves all in place")
        for name in ("scale", "ratio"):
            interval = tuple(getattr(self, name))
            if len(interval) != 2 or not 0 < interval[0] <= interval[1] < math.inf:
                raise BadInput(f"{name} must be two positive numbers in ascending order, got {interval}")
            object.__setattr__(self, name, interval)
        if self.scale[1] > 1:
            raise BadInput(f"scale is a part of the image and ends at 1, got {self.scale}")

    def draw(self, count: int, shape: Sequence[int], generator: torch.Generator, *, shared: bool = False) -> Draw:
        places = 2 * self.shuffle if self.shuffle > 1 else 0
        return Draw(uniform_rows(count, 2 * _ATTEMPTS + places + 3, generator, shared), shared=shared)

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        draw.check_fits(images)
        if self.shuffle > 1:
            keys = draw.uniform[:, 2 * _ATTEMPTS : -3].unflatten(1, (2, self.shuffle))
            images = geometry.shuffled(geometry.shuffled(images, keys[:, 0], 3), keys[:, 1], 2)
        mirrored = (draw.uniform[:, -1] < 0.5) & self.flip
        return geometry.resized_crop(images, self.boxes(images.shape[2:], draw), mirrored)

    def without_flip(self) -> Self:
        return replace(self, flip=False)

    def boxes(self, size: Sequence[int], draw: Draw) -> Tensor:
        """The drawn boxes (B, 4) in images of `size` (height, width): top, left, height, width in pixels, int64."""
        full = torch.tensor(size)
        areas, ratios = draw.uniform[:, : 2 * _ATTEMPTS].unflatten(1, (2, _ATTEMPTS)).unbind(1)  # (B, tries) each
        area = math.prod(size) * _between(*self.scale, areas)
        lowest, highest = self.ratio
        ratio = _between(math.log(lowest), math.log(highest), ratios).exp()
        tries = torch.stack([area / ratio, area * ratio], dim=2).sqrt().round().long()  # (B, tries, 2)
        fits = ((tries > 0) & (tries <= full)).all(2)  # (B, tries)
        first = fits.to(torch.uint8).argmax(1)
        chosen = tries[torch.arange(len(tries)), first]  # (B, 2)
        corner = whole(draw.uniform[:, -3:-1], full - chosen + 1)
        central = torch.tensor(self._central(*size))
        found = fits.any(1, keepdim=True)
        corner, chosen = torch.where(found, corner, (full - central) // 2), torch.where(found, chosen, central)
        return torch.cat([corner, chosen], dim=1)

    def _central(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the largest box whose aspect ratio is allowed."""
        lowest, highest = self.ratio
        if width / height < lowest:
            return round(width / lowest), width
        if width / height > highest:
            return height, round(height * highest)
        return height, width


def _between(low: float, high: float, uniform: Tensor) -> Tensor:
    return low + (high - low) * uniform
