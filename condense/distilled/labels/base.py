"""What every kind of label answers, and the registry through which a stored kind is restored."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

from condense import files, stated
from condense.errors import BadInput, DamagedFile, UnknownName

if TYPE_CHECKING:
    from condense.augment import Mix


Form = Literal["hard", "probabilities", "logits", "values", "teacher"]


@dataclass(frozen=True)
class LabelBatch:
    """The targets of one training step, and the views they were made for when the labels dictate them.

    Args:
        indices: (B,) int64, positions in the view of the set; replayed labels put their own here.
        target: (B,) int64 classes, (B, K) probabilities or logits, (B, D) representations; None for a teacher, which
            answers once the images of the step are made; see `Answering`.
        crop: (B, 4) float, top, left, height, width as fractions of the image.
        flip: (B,) bool, mirrored left to right after the crop.
        mix: partners (positions within the batch), weights and box, applied after crop and flip.
        norm_group: (B,) int64 on the CPU, samples that share batch-norm statistics.
        form: what `target` is. Logits are handed out as such, so that a recipe may mix them or soften them by a
            temperature of its own before the softmax.
    """

    indices: Tensor
    target: Tensor | None
    crop: Tensor | None = None
    flip: Tensor | None = None
    mix: Mix | None = None
    norm_group: Tensor | None = None
    form: Form = "hard"


@runtime_checkable
class Labels(Protocol):
    """Targets for the images a set stands for; every kind is immutable."""

    @property
    def kind(self) -> str:
        """Name in the registry."""

    @property
    def n_classes(self) -> int:
        """Columns of a target; for representations, their dimension."""

    @property
    def count(self) -> int | None:
        """Images that are labelled; None when any number can be."""

    @property
    def offers(self) -> frozenset[str]:
        """What a protocol can ask of these labels: hard, soft, representation, replay, teacher."""

    @property
    def views(self) -> str:
        """ "protocol" when any augmentation goes with the labels, "set" when they dictate it."""

    def view(self, epoch: int, step: int, indices: Tensor) -> LabelBatch:
        """The targets of one step; on the device of `indices`."""

    def hard(self) -> Tensor:
        """One class per image, (M,) int64 on the CPU.

        Raises:
            BadInput: when the labels do not say a class per image.
        """

    def tensors(self) -> dict[str, Tensor]:
        """What is stored beside the images."""

    def files(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """What is stored in files of its own, one at a time: name and tensors."""

    def spec(self) -> dict[str, Any]:
        """The rest, as JSON; holds `kind`."""

    def nbytes(self) -> int:
        """Bytes of all tensors, as stored."""

    def to(self, device: torch.device | str) -> Self:
        """The same labels with their tensors on a device."""


L = TypeVar("L")


def moved(labels: L, **tensors: Any) -> L:
    """The same labels with tensors elsewhere. What was checked when they were made is not looked at again, since a look
    at values on an accelerator waits for it.
    """
    elsewhere = copy.copy(labels)
    for name, value in tensors.items():
        object.__setattr__(elsewhere, name, value)  # the classes are frozen
    return elsewhere


@runtime_checkable
class Dictating(Protocol):
    """Labels whose `views` are "set": they say which images a step takes, and so how many steps an epoch has."""

    @property
    def batch(self) -> int:
        """Samples of a step."""

    def steps(self, epoch: int) -> int:
        """Steps of an epoch."""


@runtime_checkable
class Answering(Protocol):
    """Labels of the form "teacher": they answer for images as they are after augmentation and mixing."""

    @property
    def softened_at(self) -> float | None:
        """The temperature of the probabilities that are answered; None for logits, which the recipe softens."""

    def answers_for(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in the space of the set -> (B, K)."""


@runtime_checkable
class Streamed(Protocol):
    """Labels that may lie on a disk already."""

    def paths(self) -> Mapping[str, Path]:
        """Files that hold what `files` gives, by the same names; none where they are in memory."""


@runtime_checkable
class Softened(Protocol):
    """Labels that are stored as distributions over classes, or as the logits of such."""

    @property
    def form(self) -> str:
        """ "probabilities" or "logits"."""

    @property
    def temperature(self) -> float:
        """For probabilities, the one that they were made with."""


class LabelSpec(stated.Fields):
    """What `Labels.spec` gives of every kind; each kind adds its own."""

    kind: str
    n_classes: int


Restore = Callable[[Any, Mapping[str, Tensor], Path], Labels]
_RESTORE: dict[str, tuple[type[LabelSpec], Restore]] = {}


def register(kind: str, spec: type[LabelSpec], restore: Restore) -> None:
    """Makes a kind of label loadable: `restore(spec, tensors, folder of label files)` undoes what was stored.

    Raises:
        BadInput: when another restorer already has the name.
    """
    if _RESTORE.setdefault(kind, (spec, restore)) != (spec, restore):
        raise BadInput(f"the label kind {kind!r} is taken; register yours under another name")


def restore(spec: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> Labels:
    """The labels of a stored set.

    Raises:
        UnknownName: for a kind that is not registered here, with the nearest known ones.
        Misstated: naming the field of the specification that is not what the kind states.
    """
    kind = str(spec.get("kind"))
    if kind not in _RESTORE:
        raise UnknownName("label kind", kind, _RESTORE)
    fields, build = _RESTORE[kind]
    return build(stated.read(fields, dict(spec), "labels"), tensors, folder)


def stored_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a label file of a saved set.

    Raises:
        DamagedFile: when it is missing, or not what was written.
    """
    if not path.is_file():
        raise DamagedFile(path, "missing")
    return files.read_tensors(path)
