"""Where the pixels of a split come from: an array, a part of another source, a grey source shown as colour.

A method asks `take(indices)` and cannot tell which of these answers. Images that are decoded on demand live in
`condense.data.decode`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from condense.sending import beside


class Pixels(Protocol):
    """N images of one shape, uint8, handed out by index."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""

    @property
    def device(self) -> torch.device:
        """Where `take` puts the images."""

    def __len__(self) -> int: ...

    def take(self, indices: Tensor) -> Tensor:
        """The images at `indices` (B,), int64 and in range, as a fresh uint8 tensor (B, C, H, W)."""

    def to(self, device: torch.device) -> Pixels:
        """The same images, handed out on `device`."""


@dataclass(frozen=True, eq=False)
class ArrayPixels:
    """An array in memory, memory-mapped, or on an accelerator: uint8 (N, C, H, W)."""

    images: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def device(self) -> torch.device:
        return self.images.device

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Tensor) -> Tensor:
        return self.images.index_select(0, beside(indices, self.images.device))

    def to(self, device: torch.device) -> Pixels:
        return ArrayPixels(self.images.to(device))


@dataclass(frozen=True, eq=False)
class SelectedPixels:
    """Part of another source, by indices (M,) into it, which lie on its device."""

    source: Pixels
    indices: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", self.indices.to(self.source.device))

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.source.shape

    @property
    def device(self) -> torch.device:
        return self.source.device

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Tensor) -> Tensor:
        return self.source.take(self.indices[beside(indices, self.indices.device)])

    def to(self, device: torch.device) -> Pixels:
        if isinstance(self.source, ArrayPixels) and device != self.source.device:
            # Only the selected part travels: half of a large array may fit where the whole does not.
            return ArrayPixels(self.source.take(self.indices).to(device))
        return SelectedPixels(self.source.to(device), self.indices)


@dataclass(frozen=True, eq=False)
class ColourPixels:
    """A one-channel source shown with its channel repeated three times."""

    source: Pixels

    @property
    def shape(self) -> tuple[int, int, int]:
        _, height, width = self.source.shape
        return 3, height, width

    @property
    def device(self) -> torch.device:
        return self.source.device

    def __len__(self) -> int:
        return len(self.source)

    def take(self, indices: Tensor) -> Tensor:
        grey = self.source.take(indices)  # (B, 1, H, W)
        return grey.expand(-1, 3, -1, -1).contiguous()

    def to(self, device: torch.device) -> Pixels:
        return ColourPixels(self.source.to(device))
