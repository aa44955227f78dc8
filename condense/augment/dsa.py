"""Differentiable siamese augmentation (DSA).

Zhao & Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021,
https://arxiv.org/abs/2102.08259, with the operations and strengths of the authors' code.

Two conventions are published. `align_corners=False`, the default here, is that of the authors' code (DC, DSA, DM);
MTT, FTD, DATM and FYI sample scaled and rotated images with `align_corners=True`. Both ops keep the image's centre, so
on square images the two sample the same places, up to rounding; rotated images that are not square differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from condense.augment import colour, geometry
from condense.augment.augmentation import Augmentation, HasFlips, require_flips
from condense.augment.draw import Draw, uniform_rows, whole
from condense.errors import BadInput, UnknownName
from condense.sending import send

OPS = ("color", "crop", "cutout", "flip", "scale", "rotate")

# One column of a draw for each: all are drawn whichever op is chosen, so that draws do not shift one another.
_COLUMNS = (
    "brightness",
    "saturation",
    "contrast",
    "crop_down",
    "crop_right",
    "cutout_row",
    "cutout_column",
    "flip",
    "scale_across",
    "scale_down",
    "rotate",
)


@dataclass(frozen=True)
class DSA(Augmentation):
    """One of `ops`, drawn evenly, with parameters drawn for each image. Without ops it changes nothing.

    color is brightness, saturation and contrast, in this order. crop shifts by whole pixels and fills with 0. cutout
    zeroes a square whose centre is uniform over the image; for an even side the centre lies on pixel corners, of
    which there is one more than pixels, and rows and columns beyond the border are left out, so that squares near
    it come out smaller.

    Raises:
        UnknownName: for an op that does not exist.
        BadInput: for a strength out of its range.
    """

    kind: ClassVar[str] = "dsa"

    ops: tuple[str, ...] = OPS
    one_op_per: Literal["batch", "sample"] = "batch"  # batch: as published; sample: each image has its own op
    align_corners: bool = False  # False: DC, DSA, DM; True: MTT, FTD, DATM, FYI, KRR-ST
    flip_first: bool = False  # FYI's code: flip leaves the ops, every call first flips, then takes one of the others
    brightness: float = 1.0  # width of the interval around 0 that is added
    saturation: float = 2.0  # factors lie in [0, this)
    contrast: float = 0.5  # factors lie in [this, 1 + this)
    crop: float = 0.125  # largest shift as a part of the side
    cutout: float = 0.5  # side of the square as a part of the image's
    flip: float = 0.5  # probability
    scale: float = 1.2  # coordinates are multiplied by [1 / this, this)
    rotate: float = 15.0  # largest angle in degrees

    def __post_init__(self) -> None:
        object.__setattr__(self, "ops", tuple(self.ops))
        for op in self.ops:
            if op not in OPS:
                raise UnknownName("DSA op", op, OPS)
        if len(set(self.ops)) != len(self.ops):
            raise BadInput(f"each DSA op stands once, got {', '.join(self.ops)}")
        if self.one_op_per not in ("batch", "sample"):
            raise BadInput(f"one_op_per must be 'batch' or 'sample', got {self.one_op_per!r}")
        if self.flip_first:
            object.__setattr__(self, "ops", _without_flip(self.ops))
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadInput(f"{name} of DSA must lie in [{low:g}, {high:g}], got {value!r}")

    def draw(self, count: int, shape: Sequence[int], generator: torch.Generator, *, shared: bool = False) -> Draw:
        rows = 1 if shared or self.one_op_per == "batch" else count
        op: int | Tensor | None = None
        if self.ops:
            op = torch.randint(len(self.ops), (rows,), generator=generator)
            if shared or self.one_op_per == "batch":
                op = int(op)  # on the host: choosing the branch must not wait for a device
        return Draw(uniform_rows(count, len(_COLUMNS), generator, shared), op, shared)

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        draw.check_fits(images)
        if self.flip_first:
            images = self._apply_op("flip", images, draw.uniform)
        if draw.op is None:
            return images
        if isinstance(draw.op, int):
            return self._apply_op(self.ops[draw.op], images, draw.uniform)
        # Images of one op side by side, each op once over its part, and everything back in its place.
        order = draw.op.argsort(stable=True)
        sizes = draw.op.bincount(minlength=len(self.ops)).tolist()
        parts = images.index_select(0, send(order, images.device)).split(sizes)
        uniforms = draw.uniform[order].split(sizes)
        done = [
            self._apply_op(op, part, uniform)
            for op, part, uniform in zip(self.ops, parts, uniforms, strict=True)
            if len(part)
        ]
        return torch.cat(done).index_select(0, send(order.argsort(), images.device)) if done else images

    def without_flip(self) -> Self:
        return replace(self, ops=_without_flip(self.ops), flip_first=False)

    @classmethod
    def for_split(cls, split: HasFlips, **fields: Any) -> Self:
        """DSA for a data set: without flip among the ops where a mirror image does not keep its class.

        Raises:
            BadInput: where `flip_first` asks for what the data does not bear.
        """
        if fields.get("flip_first"):
            require_flips(split, "flip_first")
        return super().for_split(split, **fields)

    def _apply_op(self, op: str, images: Tensor, uniform: Tensor) -> Tensor:
        r = dict(zip(_COLUMNS, uniform.unbind(1), strict=True))  # (B,) or (1,) each
        match op:
            case "color":
                factors = (
                    (r["brightness"] - 0.5) * self.brightness,
                    r["saturation"] * self.saturation,
                    r["contrast"] + self.contrast,
                )
                sent = send(torch.stack(factors), images.device, images.dtype)  # (3, B)
                return colour.colour(images, *sent[..., None, None, None])
            case "crop":
                return geometry.shift(images, *self._shifts(images, r["crop_down"], r["crop_right"]))
            case "cutout":
                return self._cut_out(images, r["cutout_row"], r["cutout_column"])
            case "flip":
                return geometry.mirror(images, r["flip"] < self.flip)
            case "scale":
                span = self.scale - 1 / self.scale
                factors_xy = (r[name] * span + 1 / self.scale for name in ("scale_across", "scale_down"))
                return geometry.affine(images, geometry.diagonal(*factors_xy), self.align_corners)
            case _:
                angle = (r["rotate"] - 0.5) * math.radians(2 * self.rotate)
                return geometry.affine(images, geometry.rotation(angle), self.align_corners)

    def _shifts(self, images: Tensor, *uniforms: Tensor) -> tuple[Tensor, ...]:
        most = (int(side * self.crop + 0.5) for side in images.shape[2:])
        return tuple(whole(r, 2 * limit + 1) - limit for r, limit in zip(uniforms, most, strict=True))

    def _cut_out(self, images: Tensor, row: Tensor, column: Tensor) -> Tensor:
        height, width = (int(side * self.cutout + 0.5) for side in images.shape[2:])
        top = whole(row, images.shape[2] + 1 - height % 2) - height // 2
        left = whole(column, images.shape[3] + 1 - width % 2) - width // 2
        return colour.cutout(images, send(top, images.device), send(left, images.device), height, width)


def _without_flip(ops: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(op for op in ops if op != "flip")


_RANGES = (
    ("brightness", 0.0, math.inf),
    ("saturation", 0.0, math.inf),
    ("contrast", 0.0, math.inf),
    ("crop", 0.0, 1.0),
    ("cutout", 0.0, 1.0),
    ("flip", 0.0, 1.0),
    ("scale", 1.0, math.inf),
    ("rotate", 0.0, 180.0),
)
