"""A picture of a set: one row for each class, whitening and normalisation undone, small images enlarged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from condense.errors import BadInput

if TYPE_CHECKING:
    from PIL.Image import Image

    from condense.distilled.container import DistilledSet

MAX_ROWS = 40  # a picture of a thousand classes is no preview
_CELL = 64  # pixels; smaller images are enlarged by a whole number to about this
_GAP = 3
_MARGIN = 12
_BACKGROUND = 255
_FONT_SIZE = 15


def pixels(distilled: DistilledSet, indices: Tensor) -> Tensor:
    """Stored images as uint8 (B, C, H, W): preprocessing undone, clamped to what a picture can show, rounded.

    Raises:
        BadInput: for a selection that is not bound to its training split.
    """
    raw = distilled.stored.raw(indices)
    if raw.dtype == torch.uint8:
        return raw.cpu()
    shown = distilled.preprocessing.inverse(distilled.stored.prepare(raw)).clamp(0, 1)
    return (shown * 255).round().to(torch.uint8).cpu()


def grid(distilled: DistilledSet, per_class: int = 10) -> Image:
    """The first `per_class` images of each class, class names at the side; plain rows where labels say no class.

    Raises:
        BadInput: for a selection that is not bound to its training split, or `per_class` below 1.
    """
    if per_class < 1:
        raise BadInput(f"a picture shows at least one image of a class, got {per_class}")
    rows, names = _rows(distilled, per_class)
    left_out = max(0, len(rows) - MAX_ROWS)
    rows, names = rows[:MAX_ROWS], names[:MAX_ROWS]
    shown = pixels(distilled, torch.cat(rows))
    cells = np.split(_as_pictures(shown), np.cumsum([len(row) for row in rows])[:-1])
    note = f"… and {left_out} more {'classes' if any(names) else 'rows'}" if left_out else ""
    return _draw(cells, names, note)


def _rows(distilled: DistilledSet, per_class: int) -> tuple[list[Tensor], list[str]]:
    """Indices of stored images row by row, with the name of each row."""
    try:
        labels = distilled.labels.hard()[: len(distilled)]
    except BadInput:
        rows = list(torch.arange(len(distilled)).split(per_class))
        return rows, [""] * len(rows)
    chosen = [(labels == k).nonzero().flatten()[:per_class] for k in range(len(distilled.classes))]
    filled = [(row, name) for row, name in zip(chosen, distilled.classes, strict=True) if len(row)]
    return [row for row, _ in filled], [name for _, name in filled]


def _as_pictures(images: Tensor) -> np.ndarray:
    """uint8 (B, C, H, W) -> (B, sH, sW, 3); anything but three channels is shown as its grey mean."""
    if images.shape[1] != 3:
        images = images.float().mean(1, keepdim=True).round().to(torch.uint8).expand(-1, 3, -1, -1)
    scale = max(1, round(_CELL / max(images.shape[2:])))
    # Nearest neighbour: the pixels of a distilled image are the result, smoothing would invent others.
    enlarged = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return enlarged.permute(0, 2, 3, 1).contiguous().numpy()


def _draw(cells: list[np.ndarray], names: list[str], note: str) -> Image:
    from PIL import Image as Pictures
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(_FONT_SIZE)
    height, width = cells[0].shape[1:3]
    text = max((int(font.getlength(name)) for name in names), default=0)
    left = _MARGIN + (text + _MARGIN if text else 0)
    columns = max(map(len, cells))
    size = (
        max(left + columns * (width + _GAP) - _GAP, int(font.getlength(note)) + _MARGIN) + _MARGIN,
        2 * _MARGIN + len(cells) * (height + _GAP) - _GAP + (2 * _FONT_SIZE if note else 0),
    )
    picture = Pictures.new("RGB", size, (_BACKGROUND,) * 3)
    pen = ImageDraw.Draw(picture)
    for row, (images, name) in enumerate(zip(cells, names, strict=True)):
        top = _MARGIN + row * (height + _GAP)
        # Right-aligned, so that a name stands next to its images.
        pen.text((left - _MARGIN, top + height / 2), name, fill=(40, 40, 40), font=font, anchor="rm")
        for column, image in enumerate(images):
            picture.paste(Pictures.fromarray(image), (left + column * (width + _GAP), top))
    if note:
        pen.text((left, size[1] - _MARGIN), note, fill=(90, 90, 90), font=font, anchor="ls")
    return picture
