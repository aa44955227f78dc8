"""Changes of pixel places: shifts, mirrors, affine maps, crops resized to the full image."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.sending import send


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Output pixel (i, j) is input pixel (i + down, j + right), or 0 where there is none.

    images: (B, C, H, W).  down, right: (B,) or (1,) int64 on the CPU.
    """
    shifted: Tensor = _Shift.apply(images, down.expand(len(images)), right.expand(len(images)))
    return shifted


class _Shift(torch.autograd.Function):
    """The derivative of a shift is the shift back: one gather each way, where autograd would scatter."""

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
        batch, channels, height, width = images.shape
        pad_h, pad_w = int(down.abs().amax()), int(right.abs().amax())
        padded = F.pad(images, (pad_w, pad_w, pad_h, pad_h))
        row_length, plane = width + 2 * pad_w, (height + 2 * pad_h) * (width + 2 * pad_w)
        down, right = send(down + pad_h, images.device), send(right + pad_w, images.device)
        # Each row of the output is a stretch of the padded memory: copied whole, it needs one index and not W.
        rows = (torch.arange(height, device=images.device) + down[:, None]) * row_length + right[:, None]  # (B, H)
        planes = torch.arange(batch * channels, device=images.device).view(batch, channels, 1) * plane
        starts = (planes + rows[:, None]).view(-1)  # (B*C*H,)
        return padded.reshape(-1).unfold(0, width, 1).index_select(0, starts).view(images.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        _, down, right = inputs
        ctx.save_for_backward(down, right)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        down, right = ctx.saved_tensors
        return _Shift.apply(gradients[0], -down, -right), None, None


def roll(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Shifts that wrap around: output pixel (i, j) is input pixel (i - down, j - right), modulo the size.

    images: (B, C, H, W).  down, right: (B,) or (1,) int64 on the CPU.
    """
    if len(down) == 1:
        return images.roll((int(down), int(right)), dims=(2, 3))
    rolled: Tensor = _Roll.apply(images, down, right)
    return rolled


class _Roll(torch.autograd.Function):
    """The derivative of a roll is the roll back: one gather each way, where autograd would scatter."""

    @staticmethod
    def forward(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
        height, width = images.shape[2:]
        rows = send((torch.arange(height) - down[:, None]) % height, images.device)  # (B, H)
        columns = send((torch.arange(width) - right[:, None]) % width, images.device)  # (B, W)
        places = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # (B, H*W)
        return images.flatten(2).gather(2, places[:, None].expand(-1, images.shape[1], -1)).view(images.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        _, down, right = inputs
        ctx.save_for_backward(down, right)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        down, right = ctx.saved_tensors
        return _Roll.apply(gradients[0], -down, -right), None, None


def mirror(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirrors the chosen images left to right.  images: (B, C, H, W).  chosen: (B,) or (1,) bool."""
    return torch.where(send(chosen, images.device)[:, None, None, None], images.flip(3), images)


def shuffled(images: Tensor, keys: Tensor, dim: int) -> Tensor:
    """Cuts each image into strips along `dim`, the last one longer where they do not come out even, and sorts them.

    images: (B, C, H, W).  keys: (B, S) or (1, S), one number for each of S strips; the smallest comes first.
    """
    side, strips = images.shape[dim], keys.shape[1]
    strip = (torch.arange(side) // max(1, side // strips)).clamp(max=strips - 1)  # of each row or column
    order = send(keys[:, strip].argsort(dim=1, stable=True), images.device)  # (B, side)
    shape = [len(order), 1, 1, 1]
    shape[dim] = side
    return images.gather(dim, order.view(shape).expand_as(images))


def affine(images: Tensor, matrices: Tensor, align_corners: bool) -> Tensor:
    """Samples each image bilinearly where its matrix sends the output's coordinates in [-1, 1]; 0 outside.

    images: (B, C, H, W).  matrices: (B, 2, 3) or (1, 2, 3).
    """
    size = [len(matrices), *images.shape[1:]]
    grid = F.affine_grid(send(matrices, images.device, images.dtype), size, align_corners=align_corners)  # (B, H, W, 2)
    grid = grid.expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=align_corners)


def diagonal(across: Tensor, down: Tensor) -> Tensor:
    """Affine matrices (B, 2, 3) that multiply the horizontal and vertical coordinate."""
    zero = torch.zeros_like(across)
    return torch.stack([across, zero, zero, zero, down, zero], dim=1).view(-1, 2, 3)


def rotation(angle: Tensor) -> Tensor:
    """Affine matrices (B, 2, 3) that turn the coordinates by `angle` (B,) in radians."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)


def resized_crop(images: Tensor, boxes: Tensor, mirrored: Tensor) -> Tensor:
    """Cuts a box out of each image and resizes it bilinearly to the full image.

    Samples like an interpolation of the cut-out alone (half-pixel centres, its border repeated); no antialiasing,
    since a box is never larger than the image.

    images: (B, C, H, W).  boxes: (B, 4) or (1, 4), top, left, height, width in pixels.  mirrored: (B,) or (1,) bool.
    """
    top, left, height, width = send(boxes, images.device, images.dtype).unbind(1)
    ys = _sources(images.shape[2], top, height)  # (B, H)
    xs = _sources(images.shape[3], left, width)  # (B, W)
    xs = torch.where(send(mirrored, images.device)[:, None], xs.flip(1), xs)
    grid = torch.stack(torch.broadcast_tensors(xs[:, None, :], ys[:, :, None]), dim=-1)  # (B, H, W, 2)
    grid = grid.expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _sources(side: int, first: Tensor, length: Tensor) -> Tensor:
    """Coordinates in [-1, 1] of the places that `side` output pixels take from a stretch of the input."""
    centres = (torch.arange(side, device=first.device, dtype=first.dtype) + 0.5) / side  # of output pixels, in (0, 1)
    places = centres * length[:, None] - 0.5  # in pixels, 0 being the centre of the stretch's first
    places = first[:, None] + places.clamp(min=0).minimum(length[:, None] - 1)
    return (2 * places + 1) / side - 1
