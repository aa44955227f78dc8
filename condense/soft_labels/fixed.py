"""One soft label for each image: the committee's answer to the image as it is (INFER, arXiv 2408.06927, eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from condense.distilled.labels import FULL, Codec, Committee, Labels, QuantisedLabels, SoftLabels
from condense.soft_labels.images import Images
from condense.soft_labels.weighting import mixed

_CHUNK = 256  # images asked about at once


def answers(images: Images, committee: Committee) -> Tensor:
    """Logits (N, K) float32 on the CPU for all images, in their order.

    With batch statistics, images in stretches of 256 share them.
    """
    device = next(iter(committee.members[0].state.values())).device
    parts = torch.arange(len(images)).split(_CHUNK)
    if len(parts) > 1 and len(parts[-1]) == 1:  # one image has no batch statistics
        parts = (*parts[:-2], torch.cat(parts[-2:]))
    wise = committee.for_many(device)
    return torch.cat([wise.logits_for(images.gather(part, device)).float().cpu() for part in parts])


def fixed(
    images: Images,
    committee: Committee,
    *,
    codec: Codec = FULL,
    classes: Tensor | None = None,
    ground_truth: float = 0.0,
) -> Labels:
    """Static labels of a set.

    Args:
        images: in the committee's `space`.
        codec: how they are kept; "full" are half-precision logits, good for any temperature, or probabilities where
            the committee averages these.
        classes: (N,) the class that each image was made for, kept with the labels; needed for a ground truth.
        ground_truth: weight of the one-hot label, the rest being the committee's answer at its temperature; above 0 the
            labels are probabilities.
    """
    logits = answers(images, committee)
    if ground_truth == 0.0 and committee.softened_at is None:
        if codec.kind == "full":
            return SoftLabels(logits.half(), "logits", classes=classes)
        return QuantisedLabels.of(logits, codec, "logits", committee.temperature, classes)
    soft = (logits / committee.temperature).softmax(1)
    targets = mixed(classes, soft, ground_truth) if ground_truth else soft
    if codec.kind == "full":
        return SoftLabels(targets.half(), "probabilities", committee.temperature, classes)
    return QuantisedLabels.of(targets, codec, "probabilities", committee.temperature, classes)
