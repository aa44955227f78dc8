"""The distilled set: what a method returns, what is saved, and what the judge trains on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from condense.distilled import provenance, views
from condense.distilled.labels import HardLabels, Labels, ReplayedLabels
from condense.distilled.views import Offers, PlainView, SelectionView, Stored, TrainingView, View
from condense.errors import BadInput
from condense.identity import canonical, digest
from condense.preprocessing import Preprocessing, resolve

if TYPE_CHECKING:
    from condense.data import Split
    from condense.distilled.dataset import TorchDataset

IMAGE_DTYPES = (torch.uint8, torch.float16, torch.float32, torch.float64)  # those that numpy can read back
_CHUNK = 4096  # rows looked at together, so that checks and hashes of a large set stay small


@dataclass(frozen=True, eq=False)
class Selection:
    """Real images by position: redistributed are the indices, not the images."""

    indices: Tensor  # (M,) int64 into the training split
    fingerprint: str  # of that split
    shape: tuple[int, int, int]  # (C, H, W)

    def __post_init__(self) -> None:
        indices = self.indices
        if indices.ndim != 1 or indices.is_floating_point() or indices.dtype == torch.bool:
            raise BadInput(f"a selection is a row of whole numbers, got {tuple(indices.shape)} of {indices.dtype}")
        if len(indices) and int(indices.min()) < 0:
            raise BadInput(f"a selection's indices start at 0, found {int(indices.min())}")
        object.__setattr__(self, "indices", indices.detach().cpu().long())


@dataclass(frozen=True)
class Bytes:
    """What a set costs, uncompressed.

    The images of a selection count as the uint8 pixels that its user has to keep, although the file holds indices.
    """

    images: int
    labels: int
    extras: int
    preprocessing: int  # matrices; mean and standard deviation count as nothing

    @property
    def total(self) -> int:
        return self.images + self.labels + self.extras + self.preprocessing


@dataclass(frozen=True, eq=False)
class DistilledSet:
    """Images or a selection of real ones, with labels and what is needed to train on them.

    Args:
        images: (M, C, H, W); uint8 pixels, or floats in preprocessed space. None for a selection.
        source: the selection. None for synthetic images.
        labels: a target for each image of the view, of any kind in `condense.distilled.labels`.
        classes: names in label order.
        preprocessing: from pixels to the space that networks see.
        step_size: a learned step size, if the method learns one.
        extras: further tensors that belong to the set (compensators, a decoder); they count as bytes.
        expansion: how stored images become the view; see `condense.distilled.views`.
        provenance: plain values about the making. Times, dates and hosts stand under `volatile`, outside the identity.

    Raises:
        BadInput: when the parts do not fit each other, images hold values that are not finite, or a field of the
            provenance that others read has another type.
    """

    images: Tensor | None
    source: Selection | None
    labels: Labels
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    step_size: float | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    expansion: Mapping[str, Any] = field(default_factory=lambda: dict(views.PLAIN))
    provenance: Mapping[str, Any] = field(default_factory=dict)
    bound: Split | None = field(default=None, repr=False)

    @classmethod
    def synthetic(
        cls, images: Tensor, labels: Labels | Tensor, train: Split, preprocessing: Preprocessing, **rest: Any
    ) -> Self:
        """A set of images of its own.  labels: a tensor of whole numbers stands for hard labels."""
        if isinstance(labels, Tensor):
            labels = HardLabels(labels.detach().cpu().clone(), train.n_classes)
        # A copy: an optimiser that goes on must not change the set.
        return cls(images.detach().cpu().clone(), None, labels.to("cpu"), train.classes, preprocessing, **rest)

    @classmethod
    def selection(
        cls,
        indices: Tensor,
        train: Split,
        preprocessing: Preprocessing,
        labels: Labels | None = None,
        **rest: Any,
    ) -> Self:
        """A set of real images, bound to `train`; labels are the real ones unless others are given."""
        source = Selection(indices, train.fingerprint, train.shape)
        if len(source.indices) and int(source.indices.max()) >= len(train):
            raise BadInput(f"the selection reaches image {int(source.indices.max())}, the split has {len(train)}")
        labels = labels or HardLabels(train.labels[source.indices], train.n_classes)
        return cls(None, source, labels, train.classes, preprocessing, bound=train, **rest)

    def __post_init__(self) -> None:
        if (self.images is None) == (self.source is None):
            found = "neither" if self.images is None else "both"
            raise BadInput(f"a distilled set holds either images or a selection, got {found}")
        if self.images is not None:
            object.__setattr__(self, "images", _checked_images(self.images))
        self.preprocessing.check_shape(self.shape)
        if isinstance(self.labels, HardLabels):
            # The names say how many classes there are, also when the last ones have no image.
            object.__setattr__(self, "labels", HardLabels(self.labels.values, len(self.classes)))
        object.__setattr__(self, "extras", {name: self.extras[name].detach() for name in sorted(self.extras)})
        self._check_labels()
        if self.step_size is not None and not (math.isfinite(self.step_size) and self.step_size > 0):
            raise BadInput(f"a learned step size must be positive and finite, got {self.step_size!r}")
        canonical(dict(self.provenance))
        provenance.check(self.provenance)

    def _check_labels(self) -> None:
        expected = len(self.view())
        if isinstance(self.labels, ReplayedLabels) and expected:
            object.__setattr__(self, "labels", self.labels.over(expected))
        given = self.labels.count
        if expected == 0:
            raise BadInput("a distilled set needs at least one image, got none")
        if given is not None and given != expected:
            raise BadInput(f"the set stands for {expected} images, the labels are {given}; give one for each")
        if "representation" not in self.labels.offers and self.labels.n_classes != len(self.classes):
            raise BadInput(f"the labels have {self.labels.n_classes} classes, the names are {len(self.classes)}")

    def __len__(self) -> int:
        """M, the images that are stored or selected."""
        return len(self.stored)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        if self.source is not None:
            return self.source.shape
        assert self.images is not None
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def stored(self) -> Stored:
        """The images as they are stored or selected, before any expansion."""
        if self.source is not None:
            return SelectionView(self.source.indices, self.bound, self.preprocessing)
        assert self.images is not None
        return PlainView(self.images, self.preprocessing)

    def view(self) -> View:
        """The images that the set stands for, made lazily."""
        return views.expand(self.stored, self.extras, self.expansion)

    def bind(self, train: Split, *, cache_dir: Path | None = None) -> Self:
        """The same set with the training split at hand, which a selection needs to gather images.

        Whitening matrices that were neither bundled nor in the cache are fitted on it.

        Raises:
            BadInput: when it is not the split that the selection was made from.
        """
        if self.source is not None and train.fingerprint != self.source.fingerprint:
            raise BadInput(
                f"the selection was made from a split with fingerprint {self.source.fingerprint[:12]}, "
                f"got {train.fingerprint[:12]}; load the data set that it was made from"
            )
        preprocessing = self.preprocessing
        if preprocessing.kind == "zca" and not preprocessing.matrices:
            preprocessing = resolve(preprocessing.spec(), train=train, cache_dir=cache_dir)
        return replace(self, bound=train, preprocessing=preprocessing)

    def to(self, device: torch.device | str) -> Self:
        """The same set with images, labels, extras and preprocessing on a device."""
        return replace(
            self,
            images=None if self.images is None else self.images.to(device),
            labels=self.labels.to(device),
            extras={name: tensor.to(device) for name, tensor in self.extras.items()},
            preprocessing=self.preprocessing.to(device),
            bound=None if self.bound is None else self.bound.to(device),
        )

    def offers(self) -> Offers:
        """What a protocol can ask of this set."""
        return Offers(self.labels.offers, self.step_size is not None, self.labels.views)

    def training_view(self) -> TrainingView:
        """The set without a word on where it came from."""
        return TrainingView(self.view(), self.labels, self.preprocessing, self.step_size, self.classes, self.offers())

    def bytes(self) -> Bytes:
        """Bytes by part, uncompressed."""
        if self.images is not None:
            images = _nbytes(self.images)
        else:
            images = len(self) * math.prod(self.shape)
        extras = sum(map(_nbytes, self.extras.values()))
        return Bytes(images, self.labels.nbytes(), extras, self.preprocessing.nbytes())

    def as_dataset(self) -> TorchDataset:
        """A `torch.utils.data.Dataset` of (image, target), with the `test_transform` that real images need."""
        from condense.distilled.dataset import TorchDataset

        return TorchDataset(self)

    def tensors(self) -> dict[str, Tensor]:
        """What data.safetensors holds."""
        named = dict(self.labels.tensors())
        if self.images is not None:
            named["images"] = self.images
        if self.source is not None:
            named["source_index"] = self.source.indices
        if self.step_size is not None:
            named["lr"] = torch.tensor(self.step_size, dtype=torch.float64)
        return named | {f"extra.{name}": tensor for name, tensor in self.extras.items()}

    @cached_property
    def id(self) -> str:
        """SHA-256 over content and resolved configuration, never times: 64 hexadecimal digits."""
        provenance = {name: value for name, value in self.provenance.items() if name != "volatile"}
        return digest({**self._content, "provenance": provenance})

    @property
    def content(self) -> str:
        """SHA-256 over what can be trained on alone: equal in sets that are one and the same, whatever made them."""
        return digest(self._content)

    @cached_property
    def _content(self) -> dict[str, Any]:
        return {
            "tensors": _digests(self.tensors()),
            "files": {name: _digests(tensors) for name, tensors in self.labels.files()},
            "labels": self.labels.spec(),
            "classes": self.classes,
            "preprocessing": self.preprocessing.digest,
            "expansion": self.expansion,
            "source": None if self.source is None else self.source.fingerprint,
        }


def _checked_images(images: Tensor) -> Tensor:
    images = images.detach()
    if images.ndim != 4 or images.dtype not in IMAGE_DTYPES:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in IMAGE_DTYPES)
        raise BadInput(f"images are (M, C, H, W) of {known}, got {tuple(images.shape)} of {images.dtype}")
    if images.is_floating_point() and not all(torch.isfinite(part).all() for part in images.split(_CHUNK)):
        raise BadInput("the images hold values that are not finite; the run that made them diverged")
    return images


def _digests(tensors: Mapping[str, Tensor]) -> dict[str, list[Any]]:
    return {name: [str(tensor.dtype), list(tensor.shape), _sha256(tensor)] for name, tensor in tensors.items()}


def _sha256(tensor: Tensor) -> str:
    content = hashlib.sha256()
    for part in (tensor.reshape(1) if tensor.ndim == 0 else tensor).split(_CHUNK):
        content.update(part.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def _nbytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
