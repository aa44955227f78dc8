"""Lazy views: the images a set stands for, made batch by batch from what is stored.

A plain view hands out what is stored. An expanding view makes more images than are stored (every image and its mirror;
K images and M compensators as K·(M+1) images). It is named by `expansion`, a JSON mapping with a `kind` that is looked
up in a registry, and it never holds more than the stored tensors and the batch asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from condense.distilled.labels import Labels
from condense.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from condense.data import Split
    from condense.preprocessing import Preprocessing


class View(Protocol):
    """What training sees of a set's images."""

    def __len__(self) -> int: ...

    def gather(self, indices: Tensor, device: torch.device | str | None = None) -> Tensor:
        """indices: (B,) int64 in [0, len).  Returns (B, C, H, W) floats in preprocessed space.

        On `device`; None leaves them where the stored images lie.
        """
        ...


class Stored(View, Protocol):
    """The view of the stored images themselves, from which expanding views are made."""

    def raw(self, indices: Tensor) -> Tensor:
        """(B, C, H, W) as stored: uint8 pixels, or floats in preprocessed space."""
        ...

    def prepare(self, raw: Tensor) -> Tensor:
        """Raw images as floats in preprocessed space."""
        ...


@dataclass(frozen=True, eq=False)
class PlainView:
    """The stored tensor: floats are in preprocessed space already, uint8 pixels are preprocessed batch by batch."""

    images: Tensor  # (M, C, H, W)
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.images)

    def raw(self, indices: Tensor) -> Tensor:
        return self.images[indices.to(self.images.device)]

    def prepare(self, raw: Tensor) -> Tensor:
        return prepare(raw, self.preprocessing)

    def gather(self, indices: Tensor, device: torch.device | str | None = None) -> Tensor:
        return self.prepare(self.raw(indices)).to(device)


@dataclass(frozen=True, eq=False)
class SelectionView:
    """Real images by their indices in the training split; gathers once the split is bound."""

    indices: Tensor  # (M,) int64
    split: Split | None
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.indices)

    def raw(self, indices: Tensor) -> Tensor:
        if self.split is None:
            raise BadInput(
                "a selection stores the indices of real images, not the images; bind(train) it to its training split"
            )
        return self.split.take(self.indices[indices.to(self.indices.device)])

    def prepare(self, raw: Tensor) -> Tensor:
        return prepare(raw, self.preprocessing)

    def gather(self, indices: Tensor, device: torch.device | str | None = None) -> Tensor:
        return self.prepare(self.raw(indices)).to(device)


@dataclass(frozen=True, eq=False)
class MirrorView:
    """Every stored image and, after the last of them, the mirror of every one: 2M images for the bytes of M
    (Son, Oh, Baek & Ham, "FYI: Flip Your Images for Dataset Distillation", ECCV 2024, section 3)."""

    stored: Stored

    def __len__(self) -> int:
        return 2 * len(self.stored)

    def gather(self, indices: Tensor, device: torch.device | str | None = None) -> Tensor:
        raw = self.stored.raw(indices % len(self.stored))
        mirrored = (indices >= len(self.stored)).to(raw.device)
        return self.stored.prepare(torch.where(mirrored[:, None, None, None], raw.flip(3), raw)).to(device)


def prepare(raw: Tensor, preprocessing: Preprocessing) -> Tensor:
    """uint8 pixels are preprocessed; stored floats are only widened to float32 where they are narrower."""
    if raw.dtype == torch.uint8:
        return preprocessing.forward(raw)
    return raw.to(torch.promote_types(raw.dtype, torch.float32))


Expand = Callable[[Stored, Mapping[str, Tensor], Mapping[str, Any]], View]
PLAIN: Mapping[str, Any] = {"kind": "plain"}
_EXPANSIONS: dict[str, Expand] = {}


def register(kind: str, expand: Expand) -> None:
    """Makes an expansion known: `expand(stored view, extras of the set, expansion)` returns the view.

    Raises:
        BadInput: when another expansion already has the name.
    """
    if _EXPANSIONS.setdefault(kind, expand) is not expand:
        raise BadInput(f"the expansion {kind!r} is taken; register yours under another name")


def expand(stored: Stored, extras: Mapping[str, Tensor], expansion: Mapping[str, Any]) -> View:
    """The view that `expansion` names.

    Raises:
        UnknownName: with the nearest known kinds.
    """
    kind = str(expansion.get("kind"))
    if kind not in _EXPANSIONS:
        raise UnknownName("expansion", kind, _EXPANSIONS)
    return _EXPANSIONS[kind](stored, extras, expansion)


def _plain(stored: Stored, extras: Mapping[str, Tensor], expansion: Mapping[str, Any]) -> View:
    return stored


def _mirror(stored: Stored, extras: Mapping[str, Tensor], expansion: Mapping[str, Any]) -> View:
    return MirrorView(stored)


register("plain", _plain)
register("mirror", _mirror)


@dataclass(frozen=True)
class Offers:
    """What a protocol can ask of a set."""

    labels: frozenset[str]  # of hard, soft, representation, replay, teacher
    step_size: bool  # a learned one is there
    views: str  # "protocol": any augmentation goes with the labels; "set": the labels dictate it


@dataclass(frozen=True, eq=False)
class TrainingView:
    """All that the judge is given of a set: nothing says which method made it, with what, or at what cost."""

    view: View
    labels: Labels
    preprocessing: Preprocessing
    step_size: float | None
    classes: tuple[str, ...]
    offers: Offers

    def __len__(self) -> int:
        return len(self.view)

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    def gather(self, indices: Tensor, device: torch.device | str | None = None) -> Tensor:
        """As `View.gather`."""
        return self.view.gather(indices, device)
