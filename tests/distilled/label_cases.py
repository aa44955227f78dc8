"""Labels of views for nine small images, as several tests need them."""

from __future__ import annotations

from typing import Any

import torch

from condense import networks, preprocessing
from condense.distilled.labels import FULL, Codec, Committee, Member, RegionLabels, Regions

CLASSES = ("apple", "brick", "cloud")
SHAPE = (3, 6, 8)  # not square: a transposed image shows
COUNT = 9


def region_labels(rng: torch.Generator, epochs: int = 2, codec: Codec = FULL, **rule: Any) -> RegionLabels:
    """Answers drawn at random for regions in steps of four, mixed by boxes."""
    regions = Regions(**{"count": COUNT, "shape": SHAPE, "batch": 4, "seed": 11, "mix": {"kind": "cutmix"}, **rule})
    answers = [torch.randn(regions.samples, len(CLASSES), generator=rng) for _ in range(epochs)]
    return RegionLabels(regions, [codec.encode(each, "logits") for each in answers], len(CLASSES), codec)  # type: ignore[arg-type]


def committee(rng: torch.Generator, **rest: Any) -> Committee:
    """Two small networks with batch norm, which see pixels of two kinds."""
    names = ("convnet-d1:width=4,norm=batch", "convnet-d1:width=6,norm=batch")
    spaces = (preprocessing.normalise((0.5,) * 3, (0.25,) * 3), preprocessing.identity())
    members = tuple(
        Member(name, networks.build(name, SHAPE, len(CLASSES), rng).state_dict(), space)
        for name, space in zip(names, spaces, strict=True)
    )
    return Committee(members, SHAPE, len(CLASSES), spaces[0], **{"weights": (3.0, 1.0), "temperature": 2.0, **rest})
