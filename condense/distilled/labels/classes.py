"""Soft labels that may also know one class for each image, as the methods that make images class by class do.

A protocol on hard labels then judges the class that each image was made for, and not what a teacher takes it for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from condense.distilled.labels.base import LabelSpec
from condense.errors import BadInput, DamagedFile

_NAME = "labels_hard"


class ClassesBeside:
    """`classes` beside the labels, where they are given; (M,) whole numbers, kept in as few bytes as do."""

    classes: Tensor | None

    def _class_tensors(self) -> dict[str, Tensor]:
        return {} if self.classes is None else {_NAME: self.classes}

    def _class_spec(self) -> dict[str, Any]:
        return {} if self.classes is None else {"classes": True}

    def _class_bytes(self) -> int:
        return 0 if self.classes is None else self.classes.numel() * self.classes.element_size()

    def _check_classes(self, n_classes: int, count: int | None = None) -> None:
        values = self.classes
        if values is None:
            return
        if values.ndim != 1 or values.is_floating_point() or (count is not None and len(values) != count):
            wanted = "images" if count is None else f"{count} images"
            raise BadInput(f"give one class for each of the {wanted}, got {tuple(values.shape)} of {values.dtype}")
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < n_classes:
            raise BadInput(f"classes lie in [0, {n_classes}), found {int(values.min())} to {int(values.max())}")
        small = torch.uint8 if n_classes <= 2**8 else torch.int32
        # A copy: whoever made the labels may go on.
        object.__setattr__(self, "classes", values.detach().cpu().to(small, copy=True))


class OptionalClasses(ClassesBeside):
    """Labels of views: they offer "hard" where the classes are given, and only then."""

    kind: ClassVar[str]
    native: ClassVar[str]  # what the kind offers by itself

    @property
    def offers(self) -> frozenset[str]:
        return frozenset({self.native} if self.classes is None else {self.native, "hard"})

    def hard(self) -> Tensor:
        """(M,) the class that each image was made for."""
        if self.classes is None:
            raise BadInput(
                f"{self.kind} labels belong to views, not to images, and no class per image came with them; "
                "use a protocol that trains on them"
            )
        return self.classes.long().cpu()

    def tensors(self) -> dict[str, Tensor]:
        return self._class_tensors()


class ClassesSpec(LabelSpec):
    """Of a kind whose answers have a temperature, and that may have classes beside them."""

    temperature: float
    classes: bool = False


def restored_classes(spec: ClassesSpec, tensors: Mapping[str, Tensor], folder: Path) -> Tensor | None:
    """The classes of stored labels.

    Raises:
        DamagedFile: when the labels say that there are some, and there are none.
    """
    if not spec.classes:
        return None
    if _NAME not in tensors:
        raise DamagedFile(folder.parent / "data.safetensors", f"lacks the tensor {_NAME!r}")
    return tensors[_NAME]
