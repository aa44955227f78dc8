"""Soft labels in fewer bytes: the k largest entries of a row, and one rule for the rest.

Shen & Xing, "A Fast Knowledge Distillation Framework for Visual Recognition", ECCV 2022, arXiv 2112.01528, store
probabilities; its label types are, with K classes and p the k largest probabilities:

    marginal_smoothing_k5, _k10   "smoothed", k = 5, 10    the rest of the mass spread evenly: (1 - sum p) / (K - k)
    smoothing                     "smoothed", k = 1
    marginal_renorm_k5            "renormalised", k = 5    zero elsewhere, p divided by its sum
    hard                          "renormalised", k = 1
    full                          "full"

Probabilities at one temperature say nothing of another one: softmax(z / 20) is nearly flat and needs the tail. "logits"
therefore keeps the k largest logits and the mean of the others, and serves every temperature.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import ConfigDict
from torch import Tensor

from condense import stated
from condense.distilled.labels.base import LabelBatch, moved, register
from condense.distilled.labels.classes import ClassesBeside, restored_classes
from condense.distilled.labels.ranges import misfit, target_misfit
from condense.distilled.labels.stored import SoftForm, SoftSpec, check_form, soft_rows
from condense.errors import BadInput, DamagedFile, UnknownName

Kind = Literal["full", "smoothed", "renormalised", "logits"]
KINDS = ("full", "smoothed", "renormalised", "logits")
Schema = Mapping[str, tuple[str, tuple[int | None, ...]]]
_LARGEST_SHORT = 2**15  # classes whose numbers fit into 16 bits
_MASS = 2e-2  # by which a row of probabilities in half precision may miss 1


@dataclass(frozen=True)
class Codec:
    """How rows of K soft labels are kept.

    Args:
        kind: "full", every entry in half precision; the others as in the module's docstring.
        k: entries that are kept exactly, to half precision.

    Raises:
        UnknownName: for another kind.
        BadInput: for k below 1.
    """

    kind: Kind = "full"
    k: int = 5

    __pydantic_config__: ClassVar[ConfigDict] = stated.KNOWN_ONLY

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName("quantisation", str(self.kind), KINDS)
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise BadInput(f"a quantised row keeps at least its largest entry, got k={self.k!r}")

    @property
    def whole(self) -> bool:
        """Whether decoded rows add up to 1 whatever was encoded."""
        return self.kind in ("smoothed", "renormalised")

    def form(self, given: SoftForm) -> SoftForm:
        """What decoded rows are, when rows of a form are encoded."""
        return "probabilities" if self.whole else given

    def schema(self, rows: int, classes: int) -> Schema:
        """Name, dtype and shape of what `encode` gives for (rows, classes), as a run's store takes it."""
        if self.kind == "full":
            return {"target": ("float16", (rows, classes))}
        kept = min(self.k, classes)
        index = str(_index_type(classes)).removeprefix("torch.")
        fields: dict[str, tuple[str, tuple[int | None, ...]]] = {
            "top_index": (index, (rows, kept)),
            "top_value": ("float16", (rows, kept)),
        }
        return fields | ({"tail": ("float16", (rows,))} if self.kind == "logits" else {})

    def nbytes(self, rows: int, classes: int) -> int:
        """Bytes of so many rows."""
        fields = self.schema(rows, classes).values()
        return sum(getattr(torch, dtype).itemsize * math.prod(side or 0 for side in shape) for dtype, shape in fields)

    def encode(self, values: Tensor, form: SoftForm, temperature: float = 1.0) -> dict[str, Tensor]:
        """Rows as tensors to store.

        values: (N, K) logits or probabilities.  temperature: at which logits become the probabilities that are kept.

        Raises:
            BadInput: for "logits" of probabilities, which have none; for rows that do not add up to 1, as where a
                region has no label, under a kind that gives every row the mass of 1.
        """
        if self.kind == "full":
            return {"target": values.half()}
        if form == "probabilities" and self.whole and bool(((values.sum(1) - 1).abs() > _MASS).any()):
            raise BadInput(
                f'quantisation "{self.kind}" would fill up rows that do not add up to 1, such as regions without a '
                'label; use "full"'
            )
        if self.kind == "logits":
            if form != "logits":
                raise BadInput('quantisation "logits" keeps logits, the labels are probabilities; use "smoothed"')
            kept = values
        else:
            kept = (values / temperature).softmax(1) if form == "logits" else values
        top = kept.topk(min(self.k, kept.shape[1]), dim=1)
        stored = {"top_index": top.indices.to(_index_type(kept.shape[1])), "top_value": top.values.half()}
        if self.kind == "logits":
            others = kept.shape[1] - top.values.shape[1]
            stored["tail"] = ((kept.sum(1) - top.values.sum(1)) / max(1, others)).half()
        return stored

    def decode(self, stored: Mapping[str, Tensor], classes: int) -> Tensor:
        """Rows (N, K) float32 from what `encode` gave; probabilities add up to 1."""
        if self.kind == "full":
            return stored["target"].float()
        index, value = stored["top_index"].long(), stored["top_value"].float()
        if self.kind == "logits":
            return stored["tail"].float()[:, None].repeat(1, classes).scatter(1, index, value)
        others = classes - index.shape[1]
        rest = value.new_zeros(len(value), 1)
        if self.kind == "smoothed" and others:
            rest = (1 - value.sum(1, keepdim=True)).clamp(min=0) / others
        rows = rest.repeat(1, classes).scatter(1, index, value)
        return rows / rows.sum(1, keepdim=True)

    def misfit(self, stored: Mapping[str, Tensor], classes: int, form: SoftForm) -> str | None:
        """What is wrong with the values of what has this codec's schema; nothing when they can be decoded."""
        if self.kind == "full":
            return target_misfit("target", stored["target"], form)
        found = misfit("top_index", stored["top_index"], 0, classes - 1)
        found = found or target_misfit("top_value", stored["top_value"], form)
        return found or (misfit("tail", stored["tail"]) if self.kind == "logits" else None)

    def spec(self) -> dict[str, Any]:
        """Plain JSON values; `Codec(**spec)` is equal to this one."""
        return {"kind": self.kind} | ({} if self.kind == "full" else {"k": self.k})


FULL = Codec()


@dataclass(frozen=True, eq=False)
class QuantisedLabels(ClassesBeside):
    """A distribution over the classes for each image, static over epochs, as a codec keeps it.

    Args:
        stored: what `codec.encode` gave for the (M, K) labels.
        form: what decoded rows are.
        temperature: of logits, as in `SoftLabels`; for probabilities, the one they were made with.
        classes: (M,) the class that each image was made for, where there is one.

    Raises:
        BadInput: for tensors that are not of the codec's schema, or values that no encoding gives.
    """

    stored: Mapping[str, Tensor]
    codec: Codec
    n_classes: int
    form: SoftForm = "probabilities"
    temperature: float = 1.0
    classes: Tensor | None = None

    kind: ClassVar[str] = "quantised"
    offers: ClassVar[frozenset[str]] = frozenset({"soft", "hard"})
    views: ClassVar[str] = "protocol"

    @classmethod
    def of(
        cls, values: Tensor, codec: Codec, form: SoftForm, temperature: float = 1.0, classes: Tensor | None = None
    ) -> Self:
        """Soft labels (M, K), quantised.

        temperature: at which logits become the probabilities that are kept; logits that stay logits are kept undivided.
        """
        stored = codec.encode(values.detach(), form, temperature)
        kept = 1.0 if codec.form(form) == "logits" else temperature
        return cls(stored, codec, values.shape[1], codec.form(form), kept, classes)

    def __post_init__(self) -> None:
        check_form(self.form, self.temperature)
        self._check_classes(self.n_classes, self.count)
        expected = self.codec.schema(self.count, self.n_classes)
        for name, (dtype, shape) in expected.items():
            found = self.stored.get(name)
            if found is None or found.dtype != getattr(torch, dtype) or tuple(found.shape) != shape:
                given = "missing" if found is None else f"{found.dtype} {tuple(found.shape)}"
                raise BadInput(f"quantised labels keep {name} as {dtype} {shape}, found {given}; encode them again")
        if problem := self.codec.misfit(self.stored, self.n_classes, self.form):
            raise BadInput(f"a row of the quantised labels {problem}; encode them again")

    @property
    def count(self) -> int:
        return len(next(iter(self.stored.values())))

    def view(self, epoch: int, step: int, indices: Tensor) -> LabelBatch:
        rows = {name: tensor[indices.to(tensor.device)].to(indices.device) for name, tensor in self.stored.items()}
        values = self.codec.decode(rows, self.n_classes)
        return LabelBatch(indices, soft_rows(values, self.form, self.temperature), form=self.form)

    def hard(self) -> Tensor:
        """The class that each image was made for, or its most likely one."""
        if self.classes is not None:
            return self.classes.long()
        if self.codec.kind == "full":
            return self.stored["target"].argmax(1).cpu()
        return self.stored["top_index"][:, 0].long().cpu()

    def tensors(self) -> dict[str, Tensor]:
        return {f"labels_{name}": tensor for name, tensor in self.stored.items()} | self._class_tensors()

    def files(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        return iter(())

    def spec(self) -> dict[str, Any]:
        facts = {"kind": self.kind, "n_classes": self.n_classes, "form": self.form, "temperature": self.temperature}
        return facts | {"codec": self.codec.spec()} | self._class_spec()

    def nbytes(self) -> int:
        return self.codec.nbytes(self.count, self.n_classes) + self._class_bytes()

    def to(self, device: torch.device | str) -> Self:
        return moved(self, stored={name: tensor.to(device) for name, tensor in self.stored.items()})


def _index_type(classes: int) -> torch.dtype:
    return torch.int16 if classes <= _LARGEST_SHORT else torch.int32


class _Spec(SoftSpec):
    codec: Codec


def _restore(spec: _Spec, tensors: Mapping[str, Tensor], folder: Path) -> QuantisedLabels:
    names = spec.codec.schema(0, spec.n_classes)
    if missing := [name for name in names if f"labels_{name}" not in tensors]:
        raise DamagedFile(folder.parent / "data.safetensors", f"lacks the tensor 'labels_{missing[0]}'")
    stored = {name: tensors[f"labels_{name}"] for name in names}
    classes = restored_classes(spec, tensors, folder)
    return QuantisedLabels(stored, spec.codec, spec.n_classes, spec.form, spec.temperature, classes)


register(QuantisedLabels.kind, _Spec, _restore)
