"""Labels of regions, epoch by epoch: what is stored are the answers, and a rule says what each of them is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from condense.distilled.labels.base import LabelBatch, register
from condense.distilled.labels.classes import restored_classes
from condense.distilled.labels.epochs import Epoch
from condense.distilled.labels.quantised import FULL, Codec
from condense.distilled.labels.regions import Regions
from condense.distilled.labels.replayed import ByEpoch, FolderShards, LastEpoch, MemoryShards, Shards, file_name
from condense.distilled.labels.stored import SoftForm, SoftSpec, check_form, soft_rows
from condense.errors import BadInput
from condense.sending import send


@dataclass(frozen=True, eq=False)
class RegionLabels(ByEpoch):
    """Answers for the regions that a rule draws; a training that is longer than the store goes round it again.

    Args:
        regions: the rule.
        shards: one mapping for each epoch, what `codec.encode` gave for its samples in the order of the steps.
        n_classes: K.
        codec: how the answers are kept.
        form, temperature: what decoded answers are, as in `SoftLabels`.
        classes: (N,) the class that each image was made for, where there is one.

    Raises:
        BadInput: for an empty store, or one that is not of this rule and codec.
    """

    regions: Regions
    shards: Shards
    n_classes: int
    codec: Codec = FULL
    form: SoftForm = "logits"
    temperature: float = 1.0
    classes: Tensor | None = None
    _last: LastEpoch = field(default_factory=LastEpoch, repr=False)

    kind: ClassVar[str] = "regions"

    def __post_init__(self) -> None:
        if isinstance(self.shards, Sequence):
            object.__setattr__(self, "shards", MemoryShards(tuple(dict(epoch) for epoch in self.shards)))
        if len(self.shards) == 0:
            raise BadInput("labels of regions need at least one epoch, the store is empty; run the labelling first")
        check_form(self.form, self.temperature)
        self._check_classes(self.n_classes, self.regions.count)

    @property
    def count(self) -> int:
        return self.regions.count

    @property
    def batch(self) -> int:
        """Samples of a step."""
        return self.regions.batch

    def steps(self, epoch: int) -> int:
        """Steps of an epoch."""
        return self.regions.steps

    def view(self, epoch: int, step: int, indices: Tensor) -> LabelBatch:
        """The drawn step with its answers; of `indices` only the device is used."""
        epoch %= len(self.shards)
        drawn = self._epoch(epoch)
        rows, device = self.regions.rows(step), indices.device
        part = {name: send(tensor[rows], device) for name, tensor in drawn.items()}
        target = self.codec.decode(part, self.n_classes)
        return LabelBatch(
            indices=part["indices"],
            target=soft_rows(target, self.form, self.temperature),
            crop=part["crop"],
            flip=part["flip"],
            mix=self.regions.mixed(epoch, step),
            norm_group=self.regions.groups(step),
            form=self.form,
        )

    def spec(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "n_classes": self.n_classes,
            "epochs": len(self.shards),
            "regions": self.regions.spec(),
            "codec": self.codec.spec(),
            "form": self.form,
            "temperature": self.temperature,
        } | self._class_spec()

    def nbytes(self) -> int:
        answers = len(self.shards) * self.codec.nbytes(self.regions.samples, self.n_classes)
        return answers + self._class_bytes()

    def _epoch(self, epoch: int) -> Epoch:
        if self._last.index != epoch:
            self._last.tensors = {**self._checked(epoch), **self.regions.epoch(epoch)}
            self._last.index = epoch
        return self._last.tensors

    def _checked(self, index: int) -> Epoch:
        stored = self.shards.read(index)
        schema = self.codec.schema(self.regions.samples, self.n_classes)
        found = {name: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for name, t in stored.items()}
        if found != schema:
            raise BadInput(f"epoch {index} of the region labels holds {found}, the rule and the codec need {schema}")
        if problem := self.codec.misfit(stored, self.n_classes, self.form):
            place = self.paths().get(file_name(index))
            raise BadInput(f"epoch {index} of the region labels {problem}" + (f" ({place})" if place else ""))
        return stored


class _Spec(SoftSpec):
    epochs: int
    regions: dict[str, Any]
    codec: Codec


def _restore(spec: _Spec, tensors: Mapping[str, Tensor], folder: Path) -> RegionLabels:
    return RegionLabels(
        Regions.from_spec(spec.regions),
        FolderShards(folder, spec.epochs),
        spec.n_classes,
        spec.codec,
        spec.form,
        spec.temperature,
        restored_classes(spec, tensors, folder),
    )


register(RegionLabels.kind, _Spec, _restore)
