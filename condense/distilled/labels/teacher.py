"""Labels computed while training, by a network that is part of the set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from condense.distilled.labels.base import LabelBatch, register, stored_file
from condense.distilled.labels.classes import ClassesSpec, OptionalClasses, restored_classes
from condense.distilled.labels.stored import check_form
from condense.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

_FILE = "teacher.safetensors"


@dataclass(frozen=True, eq=False)
class TeacherLabels(OptionalClasses):
    """Targets are a stored network's answers to the images of the step, after augmentation.

    Args:
        network: a name that `condense.networks.build` knows, for images in the set's preprocessed space.
        state: its parameters and buffers.
        shape: (C, H, W) that it was built for.
        n_classes: K, its outputs.
        temperature: at which its answers are meant to be softened; a training recipe has a temperature of its own.
        classes: (M,) the class that each image was made for, where there is one.

    Raises:
        BadInput: for a temperature that is not positive and finite, or a state that does not fit the network.
    """

    network: str
    state: Mapping[str, Tensor]
    shape: tuple[int, int, int]
    n_classes: int
    temperature: float = 1.0
    classes: Tensor | None = None
    _module: nn.Module = field(init=False, repr=False)

    kind: ClassVar[str] = "teacher"
    native: ClassVar[str] = "teacher"
    views: ClassVar[str] = "protocol"

    def __post_init__(self) -> None:
        check_form("logits", self.temperature)
        self._check_classes(self.n_classes)
        object.__setattr__(self, "state", {name: tensor.detach() for name, tensor in self.state.items()})
        object.__setattr__(self, "_module", self._build())

    @property
    def count(self) -> int | None:
        return None if self.classes is None else len(self.classes)

    def logits_for(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in preprocessed space -> (B, K), without gradients and in evaluation mode."""
        with torch.no_grad():
            return self._module(images)

    def targets_for(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in preprocessed space -> (B, K) probabilities at the labels' temperature."""
        return (self.logits_for(images) / self.temperature).softmax(1)

    @property
    def softened_at(self) -> float | None:
        """It answers logits."""
        return None

    def answers_for(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in preprocessed space -> (B, K) logits."""
        return self.logits_for(images)

    def view(self, epoch: int, step: int, indices: Tensor) -> LabelBatch:
        return LabelBatch(indices, target=None, form="teacher")

    def files(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        yield _FILE, self.state

    def spec(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "n_classes": self.n_classes,
            "network": self.network,
            "shape": list(self.shape),
            "temperature": self.temperature,
        } | self._class_spec()

    def nbytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state.values()) + self._class_bytes()

    def to(self, device: torch.device | str) -> TeacherLabels:
        return replace(self, state={name: tensor.to(device) for name, tensor in self.state.items()})

    def _build(self) -> nn.Module:
        from condense import networks

        # The draw is overwritten at once; a generator of its own keeps it off the global one.
        module = networks.build(self.network, self.shape, self.n_classes, torch.Generator().manual_seed(0))
        try:
            module.load_state_dict(dict(self.state))
        except RuntimeError as error:
            raise BadInput(f"the teacher's state does not fit {self.network!r}: {error}") from error
        device = next(iter(self.state.values())).device
        return module.to(device).eval().requires_grad_(False)


class _Spec(ClassesSpec):
    network: str
    shape: tuple[int, int, int]


def _restore(spec: _Spec, tensors: Mapping[str, Tensor], folder: Path) -> TeacherLabels:
    state = stored_file(folder / _FILE)
    classes = restored_classes(spec, tensors, folder)
    return TeacherLabels(spec.network, state, spec.shape, spec.n_classes, spec.temperature, classes)


register(TeacherLabels.kind, _Spec, _restore)
