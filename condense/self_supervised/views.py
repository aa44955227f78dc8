"""Random views of images for self-supervised learning: crops, mirror images, colours, grey.

Zbontar, Jing, Misra, LeCun & Deny, "Barlow Twins", ICML 2021, https://arxiv.org/abs/2103.03230, Sec. 2.2, for small
images: without blur and solarisation, as is usual at 32 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from condense.augment import Augmentation, Draw, RandomResizedCrop
from condense.augment.draw import uniform_rows
from condense.errors import BadInput
from condense.sending import send

_COLUMNS = 6  # whether to jitter, brightness, contrast, saturation, hue, whether to go grey
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as torchvision's conversion to grey
# RGB to luma and two chroma axes (YIQ); a turn of the chroma plane is a turn of hue that keeps luma.
_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


@dataclass(frozen=True)
class Views(Augmentation):
    """Random views of images (B, C, H, W) with pixels in [0, 1], each image with draws of its own.

    Unlike the other augmentations, this one works on pixels before preprocessing, because brightness and saturation
    are factors there. Images of one channel have no saturation and no hue. Departures from torchvision's jitter: the
    order is always brightness, contrast, saturation, hue; hue turns the chroma plane of YIQ instead of HSV's circle.

    Raises:
        BadInput: for a strength or probability outside its range.
    """

    kind: ClassVar[str] = "self-supervised"

    scale: tuple[float, float] = (0.2, 1.0)  # area of the crop as a part of the image's
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width : height of the crop
    flip: bool = True
    jitter: float = 0.8  # probability of the four changes of colour together
    brightness: float = 0.4  # factors lie in [1 - b, 1 + b]
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1  # turns lie in [-h, h] of the circle
    grey: float = 0.2  # probability

    def __post_init__(self) -> None:
        for name in ("jitter", "brightness", "contrast", "saturation", "grey"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise BadInput(f"{name} must lie in [0, 1], got {getattr(self, name)!r}")
        if not 0.0 <= self.hue <= 0.5:
            raise BadInput(f"hue is a part of the circle and must lie in [0, 0.5], got {self.hue!r}")
        for name in ("scale", "ratio"):
            object.__setattr__(self, name, getattr(self._crop, name))

    @property
    def _crop(self) -> RandomResizedCrop:
        return RandomResizedCrop(self.scale, self.ratio, self.flip)

    def draw(self, count: int, shape: Sequence[int], generator: torch.Generator, *, shared: bool = False) -> Draw:
        places = self._crop.draw(count, shape, generator, shared=shared).uniform
        return Draw(torch.cat([places, uniform_rows(count, _COLUMNS, generator, shared)], dim=1), shared=shared)

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        draw.check_fits(images)
        images = self._crop.apply(images, Draw(draw.uniform[:, :-_COLUMNS], shared=draw.shared))
        return self._coloured(images, draw.uniform[:, -_COLUMNS:])

    def without_flip(self) -> Self:
        return replace(self, flip=False)

    def _coloured(self, images: Tensor, uniform: Tensor) -> Tensor:
        """uniform: (B, 6) or (1, 6), the columns named above."""
        jittered = uniform[:, 0] < self.jitter
        spread = 2.0 * uniform[:, 1:5] - 1.0  # in [-1, 1)
        strengths = torch.tensor([self.brightness, self.contrast, self.saturation, self.hue], dtype=uniform.dtype)
        changes = torch.where(jittered[:, None], spread * strengths, 0.0)  # (B, 4)
        brightness, contrast, saturation = (1.0 + changes[:, :3]).unbind(1)
        images = (images * _factor(brightness, images)).clamp(0.0, 1.0)
        level = _grey(images).mean((2, 3), keepdim=True)  # (B, 1, 1, 1)
        images = torch.lerp(level, images, _factor(contrast, images)).clamp(0.0, 1.0)
        if images.shape[1] != 3:
            return images
        saturation = torch.where(uniform[:, 5] < self.grey, 0.0, saturation)
        return mix_channels(images, hue_turn(changes[:, 3]) @ desaturation(saturation)).clamp(0.0, 1.0)


def desaturation(factor: Tensor) -> Tensor:
    """Colour matrices (B, 3, 3) that keep `factor` (B,) of each pixel's distance to its grey."""
    grey = torch.tensor(_LUMA, dtype=factor.dtype).expand(3, 3)  # every row is the luma
    return torch.lerp(grey, torch.eye(3, dtype=factor.dtype), factor[:, None, None])


def hue_turn(turns: Tensor) -> Tensor:
    """Colour matrices (B, 3, 3) that turn the chroma plane by `turns` (B,) of the circle; greys stay."""
    cos, sin = (2.0 * math.pi * turns).cos(), (2.0 * math.pi * turns).sin()
    turned = torch.eye(3, dtype=turns.dtype).repeat(len(turns), 1, 1)
    turned[:, 1, 1], turned[:, 1, 2], turned[:, 2, 1], turned[:, 2, 2] = cos, -sin, sin, cos
    axes = torch.tensor(_YIQ, dtype=turns.dtype)
    return torch.linalg.inv(axes) @ turned @ axes


def mix_channels(images: Tensor, matrices: Tensor) -> Tensor:
    """Applies a colour matrix to every pixel.  images: (B, 3, H, W).  matrices: (B, 3, 3) or (1, 3, 3)."""
    return (send(matrices, images.device, images.dtype) @ images.flatten(2)).view_as(images)  # (B, 3, H*W)


def _grey(images: Tensor) -> Tensor:
    """(B, 1, H, W)."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    weights = send(torch.tensor(_LUMA, dtype=images.dtype), images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def _factor(values: Tensor, images: Tensor) -> Tensor:
    return send(values, images.device, images.dtype)[:, None, None, None]
