"""Labels that are one tensor with a row per image: classes, class distributions, representations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from condense.distilled.labels.base import LabelBatch, LabelSpec, moved, register
from condense.distilled.labels.classes import ClassesBeside, ClassesSpec, restored_classes
from condense.errors import BadInput, DamagedFile

SoftForm = Literal["probabilities", "logits"]
_SUM_TOLERANCE = 2e-2  # float16 probabilities over 1000 classes add up to 1 no better than this


@dataclass(frozen=True, eq=False)
class _Rows:
    """One row per image, kept detached."""

    values: Tensor

    kind: ClassVar[str]
    tensor_name: ClassVar[str]
    offers: ClassVar[frozenset[str]]
    views: ClassVar[str] = "protocol"

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", self.values.detach())

    @property
    def count(self) -> int:
        return len(self.values)

    def rows(self, indices: Tensor) -> Tensor:
        return self.values[indices.to(self.values.device)].to(indices.device)

    def tensors(self) -> dict[str, Tensor]:
        return {self.tensor_name: self.values}

    def files(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        return iter(())

    def nbytes(self) -> int:
        return self.values.numel() * self.values.element_size()

    def to(self, device: torch.device | str) -> Self:
        return moved(self, values=self.values.to(device))

    def _require_float_matrix(self) -> None:
        values = self.values
        if values.ndim != 2 or not values.is_floating_point():
            raise BadInput(
                f"{self.kind} labels are a floating-point matrix with a row per image, got {tuple(values.shape)} of "
                f"{values.dtype}; for class numbers use HardLabels"
            )
        if not torch.isfinite(values).all():
            raise BadInput(f"{self.kind} labels hold values that are not finite; the run that made them diverged")


@dataclass(frozen=True, eq=False)
class HardLabels(_Rows):
    """One class per image.

    Args:
        values: (M,) whole numbers in [0, K), of any integer type; kept as int64.
        n_classes: K; 0 stands for the largest label plus one.

    Raises:
        BadInput: for floating-point or one-hot values, or numbers out of range.
    """

    n_classes: int = 0

    kind: ClassVar[str] = "hard"
    tensor_name: ClassVar[str] = "labels_hard"
    offers: ClassVar[frozenset[str]] = frozenset({"hard"})

    def __post_init__(self) -> None:
        super().__post_init__()
        values = self.values
        if values.ndim != 1 or values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
            raise BadInput(
                f"hard labels are a vector of whole numbers, got {tuple(values.shape)} of {values.dtype}; "
                "for distributions over classes use SoftLabels"
            )
        object.__setattr__(self, "values", values.long())
        if len(values) and self.n_classes == 0:
            object.__setattr__(self, "n_classes", int(values.max()) + 1)
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < self.n_classes:
            raise BadInput(
                f"hard labels must lie in [0, {self.n_classes}), found {int(values.min())} to {int(values.max())}; "
                "did you forget to remap a subset?"
            )

    def view(self, epoch: int, step: int, indices: Tensor) -> LabelBatch:
        return LabelBatch(indices, self.rows(indices))

    def hard(self) -> Tensor:
        return self.values.cpu()

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "n_classes": self.n_classes}


@dataclass(frozen=True, eq=False)
class SoftLabels(_Rows, ClassesBeside):
    """A distribution over the classes for each image, static over epochs.

    Args:
        values: (M, K) floating point.
        form: "probabilities", used as they are, or "logits", handed out divided by `temperature`.
        temperature: the one at which the softmax of the logits is the distribution meant; for probabilities, the one
            they were made with.
        classes: (M,) the class that each image was made for, where there is one.

    Raises:
        BadInput: for values that are not of the form stated, or classes that are none.
    """

    form: SoftForm = "probabilities"
    temperature: float = 1.0
    classes: Tensor | None = None

    kind: ClassVar[str] = "soft"
    tensor_name: ClassVar[str] = "labels_soft"
    offers: ClassVar[frozenset[str]] = frozenset({"soft", "hard"})

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_float_matrix()
        self._check_classes(self.n_classes, self.count)
        check_form(self.form, self.temperature)
        if self.form == "probabilities":
            sums = self.values.double().sum(1)
            if (self.values < 0).any() or ((sums - 1).abs() > _SUM_TOLERANCE).any():
                raise BadInput(
                    "probabilities must be at least 0 and add up to 1 in every row, found rows that do not; "
                    'if these are logits, say form="logits"'
                )

    @property
    def n_classes(self) -> int:
        return self.values.shape[1]

    def view(self, epoch: int, step: int, indices: Tensor) -> LabelBatch:
        return LabelBatch(indices, soft_rows(self.rows(indices), self.form, self.temperature), form=self.form)

    def hard(self) -> Tensor:
        """The class that each image was made for, or its most likely one."""
        return self.values.argmax(1).cpu() if self.classes is None else self.classes.long()

    def tensors(self) -> dict[str, Tensor]:
        return super().tensors() | self._class_tensors()

    def nbytes(self) -> int:
        return super().nbytes() + self._class_bytes()

    def spec(self) -> dict[str, Any]:
        facts = {"kind": self.kind, "n_classes": self.n_classes, "form": self.form, "temperature": self.temperature}
        return facts | self._class_spec()


@dataclass(frozen=True, eq=False)
class Representations(_Rows):
    """A target vector for each image, in the space of a teacher's features; such a set knows no classes.

    Args:
        values: (M, D) floating point.

    Raises:
        BadInput: for another shape or values that are not finite.
    """

    kind: ClassVar[str] = "representation"
    tensor_name: ClassVar[str] = "targets_repr"
    offers: ClassVar[frozenset[str]] = frozenset({"representation"})

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_float_matrix()

    @property
    def n_classes(self) -> int:
        return self.values.shape[1]

    def view(self, epoch: int, step: int, indices: Tensor) -> LabelBatch:
        return LabelBatch(indices, _widened(self.rows(indices)), form="values")

    def hard(self) -> Tensor:
        raise BadInput("representation targets say no class per image; use a protocol that trains on representations")

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "n_classes": self.n_classes}


def check_form(form: str, temperature: float) -> None:
    """Raises:
    BadInput: for an unknown form or a temperature that is not positive and finite.
    """
    if form not in ("probabilities", "logits"):
        raise BadInput(f'the form of soft labels is "probabilities" or "logits", got {form!r}')
    if not 0.0 < temperature < float("inf"):
        raise BadInput(f"the temperature of soft labels must be positive and finite, got {temperature!r}")


def soft_rows(rows: Tensor, form: SoftForm, temperature: float) -> Tensor:
    """Stored rows as a batch gets them, in at least float32.  rows: (B, K)."""
    return _widened(rows) / temperature if form == "logits" else _widened(rows)


def _widened(rows: Tensor) -> Tensor:
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def _take(tensors: Mapping[str, Tensor], name: str, folder: Path) -> Tensor:
    if name not in tensors:
        raise DamagedFile(folder.parent / "data.safetensors", f"lacks the tensor {name!r}")
    return tensors[name]


class SoftSpec(ClassesSpec):
    """Of a kind that keeps distributions over classes, or the logits of such."""

    form: SoftForm


def _restore_hard(spec: LabelSpec, tensors: Mapping[str, Tensor], folder: Path) -> HardLabels:
    return HardLabels(_take(tensors, HardLabels.tensor_name, folder), spec.n_classes)


def _restore_soft(spec: SoftSpec, tensors: Mapping[str, Tensor], folder: Path) -> SoftLabels:
    values = _take(tensors, SoftLabels.tensor_name, folder)
    return SoftLabels(values, spec.form, spec.temperature, restored_classes(spec, tensors, folder))


def _restore_representations(spec: LabelSpec, tensors: Mapping[str, Tensor], folder: Path) -> Representations:
    return Representations(_take(tensors, Representations.tensor_name, folder))


register("hard", LabelSpec, _restore_hard)
register("soft", SoftSpec, _restore_soft)
register("representation", LabelSpec, _restore_representations)
