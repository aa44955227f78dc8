"""What networks train on: anything that gathers images by index and has labels that answer for a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from condense.distilled.labels import HardLabels, Labels
from condense.sending import beside

if TYPE_CHECKING:
    from condense.data import Split
    from condense.preprocessing import Preprocessing

Rng = Callable[..., torch.Generator]  # rng(name, *ids) -> a CPU generator for that purpose and no other

# Float images kept whole on the device up to this size; beyond it they are gathered batch by batch.
RESIDENT_BYTES = 2**30
# Rows preprocessed at once when a source is made resident: 64 MiB of 3 x 32 x 32 floats.
_CHUNK = 4096


class Source(Protocol):
    """Images in the network's input space, with labels."""

    @property
    def labels(self) -> Labels: ...

    @property
    def n_classes(self) -> int: ...

    def __len__(self) -> int: ...

    def gather(self, indices: Tensor, device: torch.device) -> Tensor:
        """Float images (B, C, H, W) of `indices` (B,), on `device`."""
        ...


class SplitSource:
    """A real split, kept as uint8 and preprocessed batch by batch, with its own hard labels."""

    def __init__(self, split: Split, preprocessing: Preprocessing):
        self.split = split
        self.preprocessing = preprocessing
        self.labels: Labels = HardLabels(split.labels, split.n_classes)
        self.n_classes = split.n_classes

    def __len__(self) -> int:
        return len(self.split)

    def gather(self, indices: Tensor, device: torch.device) -> Tensor:
        """Float images (B, C, H, W), preprocessed where the split lies and moved to `device`."""
        return self.preprocessing.forward(self.split.take(indices)).to(device)

    def to(self, device: torch.device) -> SplitSource:
        """The same source with bytes and matrices on `device`."""
        if self.split.device == device:
            return self
        return SplitSource(self.split.to(device), self.preprocessing.to(device))


@dataclass(frozen=True)
class Resident:
    """A source whose float images lie on the device as one tensor (M, C, H, W)."""

    images: Tensor
    labels: Labels
    n_classes: int

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, indices: Tensor, device: torch.device) -> Tensor:
        """Rows of the tensor."""
        return self.images.index_select(0, beside(indices, self.images.device)).to(device)


def on_device(source: Source, device: torch.device) -> Source:
    """The source in the form that makes many passes cheap, with equal images.

    A real split stays uint8 (a quarter of the bytes; normalising a batch costs next to nothing) unless it is whitened,
    which is a D x D product per image and worth doing once. Everything else becomes one float tensor when it fits.
    """
    if isinstance(source, Resident):
        return source
    if isinstance(source, SplitSource):
        source = source.to(device)
        if source.preprocessing.kind != "zca":
            return source
    first = source.gather(torch.zeros(1, dtype=torch.int64), device)
    if len(source) * first.numel() * first.element_size() > RESIDENT_BYTES:
        return source
    images = first.new_empty((len(source), *first.shape[1:]))
    for rows in torch.arange(len(source)).split(_CHUNK):
        images[rows[0] : rows[-1] + 1] = source.gather(rows, device)
    return Resident(images, source.labels, source.n_classes)
