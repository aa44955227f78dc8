"""A split: images by index, labels, and what a method may know about them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from condense.data.fingerprint import Fingerprint, ordering
from condense.data.pixels import ArrayPixels, Pixels, SelectedPixels
from condense.data.statistics import Channels, ChannelStatistics
from condense.errors import BadInput
from condense.identity import digest

Indices = Tensor | NDArray[np.integer[Any]] | Sequence[int]


@dataclass(frozen=True, eq=False)
class Split:
    """N images of one shape with labels in [0, K).

    The pixels may be an array, a memory-mapped file or encoded images that are decoded on demand.
    """

    pixels: Pixels
    hidden_labels: Tensor | None  # int64 (N,) on the CPU; None on an unlabelled split
    classes: tuple[str, ...]
    flips: bool  # a horizontal flip keeps the class
    mean: Channels  # per channel, in units of [0, 1]
    std: Channels
    fingerprint: str  # 64 hexadecimal digits; the labels count even where they are hidden

    @classmethod
    def from_arrays(
        cls,
        images: Tensor | NDArray[np.uint8],
        labels: Indices,
        classes: Sequence[str],
        *,
        flips: bool = True,
        mean: Channels | None = None,
        std: Channels | None = None,
    ) -> Split:
        """A split held in memory, on the device of `images`.

        images: uint8 (N, C, H, W), N >= 1.  labels: whole numbers (N,) in [0, len(classes)).  Mean and standard
        deviation are computed where they are not given.

        Raises:
            BadInput: saying which of these does not hold.
        """
        pixels = torch.as_tensor(images)
        names = checked_classes(classes)
        if pixels.dtype != torch.uint8 or pixels.ndim != 4:
            found = f"{pixels.dtype} of shape {tuple(pixels.shape)}"
            raise BadInput(f"images must be uint8 (N, C, H, W), got {found}; scale and permute them first")
        values = checked_labels(labels, len(names))
        if len(values) != len(pixels):
            raise BadInput(f"{len(pixels)} images came with {len(values)} labels; give one label for each image")
        if not len(pixels):
            raise BadInput("a split needs at least one image, got none")
        array = pixels.cpu().numpy()
        mark = Fingerprint(values.numpy(), names, array.shape[1:])
        mark.update(array)
        if mean is None or std is None:
            statistics = ChannelStatistics(array.shape[1])
            statistics.update(array)
            mean, std = statistics.result()
        return cls(ArrayPixels(pixels), values, names, flips, mean, std, mark.hexdigest())

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def labels(self) -> Tensor:
        """int64 (N,) on the CPU.

        Raises:
            BadInput: on an unlabelled split.
        """
        if self.hidden_labels is None:
            raise BadInput(
                "this split is unlabelled, as for a method with uses_labels=False; declare True to see labels"
            )
        return self.hidden_labels

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return self.pixels.shape

    @property
    def n_classes(self) -> int:
        """K, classes without an image counted."""
        return len(self.classes)

    @property
    def device(self) -> torch.device:
        """Where `take` puts the images."""
        return self.pixels.device

    def take(self, indices: Indices) -> Tensor:
        """The images at `indices` (B,), any order, repeats allowed: a fresh uint8 tensor (B, C, H, W) on `device`.

        Raises:
            BadInput: for an index outside [0, N) or indices that are not a row of whole numbers.
        """
        return self.pixels.take(self._checked(indices))

    def to(self, device: torch.device | str) -> Split:
        """The same split with its images on `device`; an array is moved at once, on-demand images batch by batch."""
        target = torch.empty(0, device=device).device  # "cuda" names the current device, "cuda:0" one of them
        return self if target == self.device else replace(self, pixels=self.pixels.to(target))

    def subset(self, indices: Indices) -> Split:
        """The images at `indices` (M,), in that order, without copying pixels; all classes are kept."""
        chosen = self._checked(indices).cpu()
        if not len(chosen):
            raise BadInput("a subset needs at least one image, got no indices")
        if isinstance(self.pixels, SelectedPixels):
            pixels = SelectedPixels(self.pixels.source, self.pixels.indices[chosen.to(self.pixels.device)])
        else:
            pixels = SelectedPixels(self.pixels, chosen)
        content = hashlib.sha256(chosen.numpy().astype("<i8").tobytes()).hexdigest()
        return replace(
            self,
            pixels=pixels,
            hidden_labels=None if self.hidden_labels is None else self.hidden_labels[chosen],
            fingerprint=digest({"part of": self.fingerprint, "indices": content}),
        )

    def unlabelled(self) -> Split:
        """The same images with the labels withheld; the fingerprint stays, since it is the same data."""
        return replace(self, hidden_labels=None)

    def of_class(self, label: int) -> Tensor:
        """Ascending indices (int64) of the images of one class; empty when it has none."""
        if not 0 <= label < self.n_classes:
            raise BadInput(f"class index must lie in [0, {self.n_classes}), got {label}")
        return (self.labels == label).nonzero().flatten()

    def class_counts(self) -> list[int]:
        """Images of each class, K numbers."""
        return torch.bincount(self.labels, minlength=self.n_classes).tolist()

    def _checked(self, indices: Indices) -> Tensor:
        rows = _whole_numbers("indices", indices)
        # Looking at indices that live on an accelerator would wait for it; there, the kernel itself checks.
        if rows.numel() and rows.device.type == "cpu" and (int(rows.min()) < 0 or int(rows.max()) >= len(self)):
            raise BadInput(f"indices must lie in [0, {len(self)}), got {int(rows.min())} to {int(rows.max())}")
        return rows


def validation_split(train: Split) -> tuple[Split, Split]:
    """(kept, held): a fixed tenth of each class is held back, chosen by the fingerprint of `train` alone.

    A class of n images gives round(n / 10), and at least one when it has two or more.
    """
    held: list[int] = []
    for label in range(train.n_classes):
        rows = train.of_class(label).tolist()
        count = max(round(len(rows) / 10), 1 if len(rows) > 1 else 0)
        held += ordering(f"validation:{train.fingerprint}", rows)[:count]
    if not held:
        raise BadInput("no class has two images, so none can be held back for validation; use a larger training split")
    mask = torch.zeros(len(train), dtype=torch.bool)
    mask[held] = True
    return train.subset((~mask).nonzero().flatten()), train.subset(mask.nonzero().flatten())


def checked_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """The class names as a tuple.

    Raises:
        BadInput: when there is none, or one stands twice.
    """
    names = tuple(classes)
    if not names:
        raise BadInput("a data set needs at least one class, got none")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise BadInput(f"class names must differ, {repeated[0]!r} stands {names.count(repeated[0])} times; rename one")
    return names


def checked_labels(labels: Indices, n_classes: int) -> Tensor:
    """The labels as int64 (N,) on the CPU.

    Raises:
        BadInput: when they are not whole numbers in [0, n_classes).
    """
    values = _whole_numbers("labels", labels).cpu()
    if values.numel() and (int(values.min()) < 0 or int(values.max()) >= n_classes):
        found = f"{int(values.min())} to {int(values.max())}"
        raise BadInput(f"labels must lie in [0, {n_classes}), found {found}; name every class, or remap the labels")
    return values


def _whole_numbers(what: str, values: Indices) -> Tensor:
    """The values as int64 (B,), on the device of a tensor given."""
    row = values if isinstance(values, Tensor) else np.asarray(values)
    if isinstance(row, Tensor):
        whole = not (row.is_floating_point() or row.is_complex() or row.dtype == torch.bool)
    else:
        whole = row.dtype.kind in "iu"
    empty = 0 in row.shape  # an empty list has no type
    if row.ndim != 1 or not (whole or empty):
        raise BadInput(f"{what} must be a row of whole numbers, got {row.dtype} of shape {tuple(row.shape)}")
    return row.to(torch.int64) if isinstance(row, Tensor) else torch.from_numpy(row.astype(np.int64))
