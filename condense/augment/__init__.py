"""Augmentation of image batches as tensors: drawn from a generator on the CPU, applied anywhere, differentiable."""

from __future__ import annotations

from condense.augment.augmentation import Augmentation, NoAugmentation
from condense.augment.crops import CropFlip, RandomResizedCrop
from condense.augment.draw import Draw
from condense.augment.dsa import DSA
from condense.augment.mixing import CutMix, Mix, Mixing, MixUp, mix_targets
from condense.augment.specification import from_spec, mixing_from_spec

__all__ = [
    "DSA",
    "Augmentation",
    "CropFlip",
    "CutMix",
    "Draw",
    "Mix",
    "MixUp",
    "Mixing",
    "NoAugmentation",
    "RandomResizedCrop",
    "from_spec",
    "mix_targets",
    "mixing_from_spec",
]
