"""What the teacher sees of the images in a step: a crop, a mirror image, a circular shift; and how crops go on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from condense.augment import RandomResizedCrop, geometry
from condense.errors import BadInput

Curriculum = Literal["constant", "step", "linear", "cosine"]
Draws = Literal["batch", "sample"]


def smallest_area(step: int, steps: int, curriculum: Curriculum, milestone: float, lowest: float) -> float:
    """Lower end of the crop's area at a step, as a part of the image (CDA, Sec. 3.2).

    Up to the step milestone * steps it goes from 1 down to `lowest`: not at all ("step"), evenly ("linear") or as half
    a cosine; afterwards, and always for "constant", it is `lowest`.
    """
    end = milestone * steps
    if curriculum == "constant" or step >= end:
        return lowest
    if curriculum == "step":
        return 1.0
    if curriculum == "linear":
        return lowest + (1 - lowest) * (1 - step / end)
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * step / end)) / 2


@dataclass(frozen=True)
class Views:
    """Crop resized to the full image, then mirror, then roll; one draw a step for the batch, or one for each image.

    Args:
        steps: T, for which the curriculum is spread out.
        lowest: smallest area of a crop; 1 leaves crops out.
        curriculum, milestone: of the crop's smallest area, see `smallest_area`.
        flip: mirror with probability 1/2.
        roll_from, roll_to: pixels of the circular shift, both ends included, for each of the two directions.
        draws: "batch" as published, or "sample".

    Raises:
        BadInput: for an empty interval, or an area or milestone outside [0, 1].
    """

    steps: int
    lowest: float = 0.08
    curriculum: Curriculum = "constant"
    milestone: float = 1.0
    flip: bool = True
    roll_from: int = 0
    roll_to: int = 32
    draws: Draws = "batch"

    def __post_init__(self) -> None:
        if self.roll_from > self.roll_to:
            raise BadInput(f"the roll goes from {self.roll_from} to {self.roll_to} pixels; put the smaller one first")
        if not 0 < self.lowest <= 1 or not 0 <= self.milestone <= 1:
            raise BadInput(
                f"the smallest crop is an area in (0, 1] and the milestone lies in [0, 1], got {self.lowest} and "
                f"{self.milestone}"
            )

    def __call__(self, images: Tensor, step: int, generator: torch.Generator) -> Tensor:
        """The views (N, C, H, W) of images (N, C, H, W) in a step; differentiable."""
        shared = self.draws == "batch"
        if self.lowest < 1:
            lowest = smallest_area(step, self.steps, self.curriculum, self.milestone, self.lowest)
            crop = RandomResizedCrop(scale=(lowest, 1.0), flip=self.flip)
            images = crop.apply(images, crop.draw(len(images), images.shape[1:], generator, shared=shared))
        elif self.flip:
            mirrored = torch.rand(1 if shared else len(images), generator=generator) < 0.5
            images = geometry.mirror(images, mirrored)
        rows = 1 if shared else len(images)
        down, right = torch.randint(self.roll_from, self.roll_to + 1, (2, rows), generator=generator)
        return geometry.roll(images, down, right)
