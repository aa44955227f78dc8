"""Labels replayed epoch by epoch: they dictate which images a step takes, how each is cropped, flipped and mixed, and
give the teacher's answer for exactly that view (Shen & Xing, "A Fast Knowledge Distillation Framework", ECCV 2022).

One shard holds one epoch of n samples in S steps of `batch` samples, the last step possibly shorter:
    indices (n,) int64 · target (n, K) floating point          required
    crop (n, 4) float · flip (n,) bool · norm_group (n,) int64  optional
    partner (n,) int64, positions within the batch · mix_weight (S,) · mix_box (S, 4) int64, top, left, height, width;
        a box without area stands for MixUp                     optional, partner and mix_weight together
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from condense.distilled.labels import epochs
from condense.distilled.labels.base import LabelBatch, register, stored_file
from condense.distilled.labels.classes import OptionalClasses, restored_classes
from condense.distilled.labels.epochs import Epoch
from condense.distilled.labels.stored import SoftForm, SoftSpec, check_form, soft_rows
from condense.errors import BadInput, DamagedFile
from condense.sending import send


class Shards(Protocol):
    """Where epochs come from, read one at a time: a run's store, a folder of a saved set, or memory."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Epoch: ...


@dataclass(frozen=True)
class FolderShards:
    """Epochs of a saved set: `epoch-0000.safetensors` and so on.

    Raises:
        DamagedFile: naming the first epoch that is missing.
    """

    folder: Path
    epochs: int

    def __post_init__(self) -> None:
        for index in range(self.epochs):
            if not self.path(index).is_file():
                raise DamagedFile(self.path(index), "missing")

    def __len__(self) -> int:
        return self.epochs

    def path(self, index: int) -> Path:
        return self.folder / file_name(index)

    def read(self, index: int) -> Epoch:
        return stored_file(self.path(index))


@dataclass(frozen=True)
class MemoryShards:
    """Epochs given as explicit arrays."""

    epochs: Sequence[Epoch]

    def __len__(self) -> int:
        return len(self.epochs)

    def read(self, index: int) -> Epoch:
        return self.epochs[index]


@dataclass(eq=False)
class LastEpoch:
    """Keeps the epoch in use, so that its steps read the shard once."""

    index: int = -1
    tensors: Epoch = field(default_factory=dict)
    n_classes: int | None = None  # of every epoch, once one was read


class ByEpoch(OptionalClasses, ABC):
    """Labels that are read epoch by epoch, in the form and place that `shards` have."""

    shards: Shards

    native: ClassVar[str] = "replay"
    views: ClassVar[str] = "set"

    @abstractmethod
    def _checked(self, index: int) -> Epoch:
        """A stored epoch; BadInput when it does not fit the labels."""

    def files(self) -> Iterator[tuple[str, Epoch]]:
        for index in range(len(self.shards)):
            yield file_name(index), self._checked(index)

    def paths(self) -> Mapping[str, Path]:
        return paths(self.shards)

    def to(self, device: torch.device | str) -> Self:
        """Itself: epochs are streamed, and follow the device of the indices asked with."""
        return self


@dataclass(frozen=True, eq=False)
class ReplayedLabels(ByEpoch):
    """Explicit draws and targets per epoch; a longer training goes round them again.

    Args:
        shards: the epochs, or a sequence of mappings of the fields above.
        batch: samples of a step, as in the store.
        form, temperature: what `target` holds, as in `SoftLabels`.
        classes: (M,) the class that each image was made for, where there is one.
        images: M, which the indices point into; None where neither this nor the classes are given.

    Raises:
        BadInput: for an empty store, or an epoch whose fields do not fit each other or hold what they cannot.
    """

    shards: Shards
    batch: int
    form: SoftForm = "logits"
    temperature: float = 1.0
    classes: Tensor | None = None
    images: int | None = None
    _last: LastEpoch = field(default_factory=LastEpoch, repr=False)

    kind: ClassVar[str] = "replayed"

    def __post_init__(self) -> None:
        if isinstance(self.shards, Sequence):
            object.__setattr__(self, "shards", MemoryShards(tuple(dict(epoch) for epoch in self.shards)))
        if self.batch < 1:
            raise BadInput(f"a replayed step has at least one sample, got batch={self.batch}")
        if len(self.shards) == 0:
            raise BadInput("replayed labels need at least one epoch, the store is empty; run the labelling first")
        check_form(self.form, self.temperature)
        self._check_classes(self.n_classes)

    @property
    def count(self) -> int | None:
        return self.images if self.classes is None else self.classes.numel()

    @property
    def n_classes(self) -> int:
        if self._last.n_classes is None:
            self._epoch(0)
        assert self._last.n_classes is not None
        return self._last.n_classes

    def over(self, images: int) -> Self:
        """The same labels of a set that stands for so many images: no index may reach beyond them."""
        if self.count is not None:
            return self
        made = replace(self, images=images, _last=replace(self._last))
        made._require_sound(self._last.index, self._last.tensors)
        return made

    def steps(self, epoch: int) -> int:
        """Steps that the epoch has."""
        return epochs.steps(len(self._epoch(epoch)["indices"]), self.batch)

    def view(self, epoch: int, step: int, indices: Tensor) -> LabelBatch:
        """The stored step; of `indices` only the device is used.

        Raises:
            BadInput: for a step that the epoch does not have.
        """
        stored = self._epoch(epoch)
        if not 0 <= step < self.steps(epoch):
            raise BadInput(f"epoch {epoch} of the replayed labels has {self.steps(epoch)} steps, step {step} was asked")
        rows = slice(step * self.batch, (step + 1) * self.batch)
        part = {name: stored[name][rows] for name in epochs.PER_SAMPLE & stored.keys()}
        group = part.pop("norm_group", None)
        part = {name: send(tensor, indices.device) for name, tensor in part.items()}
        return LabelBatch(
            indices=part["indices"],
            target=soft_rows(part["target"], self.form, self.temperature),
            crop=part.get("crop"),
            flip=part.get("flip"),
            mix=_mix(stored, part, step),
            norm_group=group,
            form=self.form,
        )

    def spec(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "n_classes": self.n_classes,
            "epochs": len(self.shards),
            "batch": self.batch,
            "form": self.form,
            "temperature": self.temperature,
        } | self._class_spec()

    def nbytes(self) -> int:
        return self._nbytes

    @cached_property
    def _nbytes(self) -> int:
        # Kept, since it takes a pass over the store.
        stored = (tensor for _, epoch in self.files() for tensor in epoch.values())
        return sum(tensor.numel() * tensor.element_size() for tensor in stored) + self._class_bytes()

    def _epoch(self, epoch: int) -> Epoch:
        index = epoch % len(self.shards)
        if self._last.index != index:
            self._last.tensors = self._checked(index)
            self._last.index = index
        return self._last.tensors

    def _checked(self, index: int) -> Epoch:
        stored = self.shards.read(index)
        self._require_sound(index, stored)
        self._last.n_classes = stored["target"].shape[1]
        return stored

    def _require_sound(self, index: int, stored: Epoch) -> None:
        problem = epochs.problem(stored, self.batch, self.form, self.count, self._last.n_classes)
        if problem is None:
            return
        place = paths(self.shards).get(file_name(index))
        raise BadInput(f"epoch {index} of the replayed labels {problem}" + (f" ({place})" if place else ""))


def _mix(stored: Epoch, part: Epoch, step: int) -> Any:
    if "partner" not in stored:
        return None
    from condense.augment import Mix

    box = stored["mix_box"][step] if "mix_box" in stored else None
    if box is not None and int(box[2] * box[3]) == 0:
        box = None
    device = part["partner"].device
    return Mix(part["partner"], send(stored["mix_weight"][step], device), None if box is None else send(box, device))


def paths(shards: Shards) -> Mapping[str, Path]:
    """Where epochs lie, by the names that they have in a saved set; nothing for those in memory."""
    path = getattr(shards, "path", None)
    return {} if path is None else {file_name(index): path(index) for index in range(len(shards))}


def file_name(index: int) -> str:
    return f"epoch-{index:04d}.safetensors"


class _Spec(SoftSpec):
    epochs: int
    batch: int


def _restore(spec: _Spec, tensors: Mapping[str, Tensor], folder: Path) -> ReplayedLabels:
    shards = FolderShards(folder, spec.epochs)
    classes = restored_classes(spec, tensors, folder)
    return ReplayedLabels(shards, spec.batch, spec.form, spec.temperature, classes)


register(ReplayedLabels.kind, _Spec, _restore)
