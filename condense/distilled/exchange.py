"""What exporters share: the parts of a set that a foreign layout can hold, and a refusal for the others."""

from __future__ import annotations

import io
from collections.abc import Iterator

import torch
from torch import Tensor

from condense.distilled.container import DistilledSet
from condense.distilled.labels import HardLabels, Representations, SoftLabels
from condense.distilled.preview import pixels
from condense.distilled.views import PLAIN
from condense.errors import BadInput

_CHUNK = 1024  # images that are brought to pixels at once


def require_plain(distilled: DistilledSet, layout: str) -> None:
    """Refuses what a list of images with labels cannot express.

    Raises:
        BadInput: when the set stands for more images than it stores, or has extras.
    """
    if dict(distilled.expansion) != dict(PLAIN) or distilled.extras:
        raise BadInput(
            f"the format {layout} holds images and labels only; this set has {_surplus(distilled)}, "
            "which self-contained keeps"
        )


def label_values(distilled: DistilledSet, layout: str) -> Tensor:
    """The labels as one tensor with a row per image.

    Raises:
        BadInput: for replayed and teacher labels, which have no such form.
    """
    if not isinstance(distilled.labels, HardLabels | SoftLabels | Representations):
        raise BadInput(
            f"the format {layout} holds one label per image; this set has {distilled.labels.kind} labels, which "
            "self-contained keeps"
        )
    return distilled.labels.values.cpu()


def rounding(distilled: DistilledSet) -> list[str]:
    """What is worth saying of the set as pictures: nothing where its images are pixels already."""
    if distilled.images is None or not distilled.images.is_floating_point():
        return []
    return ["the images were floating-point numbers; pictures hold them clamped to [0, 1] and rounded to 8 bits"]


def pictures(distilled: DistilledSet) -> Iterator[tuple[str, bytes]]:
    """Every image as a lossless PNG, named by its position: the names of a set sort as its images do."""
    digits = len(str(len(distilled) - 1))
    for part in torch.arange(len(distilled)).split(_CHUNK):
        for index, image in zip(part.tolist(), pixels(distilled, part), strict=True):
            yield f"{index:0{digits}d}.png", _png(image)


def _png(image: Tensor) -> bytes:
    from PIL import Image

    if image.shape[0] not in (1, 3):
        raise BadInput(f"a picture has one or three channels, these images have {image.shape[0]}; export npz instead")
    array = image[0].numpy() if image.shape[0] == 1 else image.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _surplus(distilled: DistilledSet) -> str:
    if distilled.extras:
        return f"extras ({', '.join(distilled.extras)})"
    return f"a view that is made from them ({distilled.expansion['kind']})"
