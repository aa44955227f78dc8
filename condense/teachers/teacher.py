"""A teacher: a trained network with the pixel space it sees, how good it is, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from condense import networks
from condense.errors import BadInput
from condense.networks import Network
from condense.preprocessing import Preprocessing
from condense.tensor_format import checksum


@dataclass(frozen=True, eq=False)
class Teacher:
    """Everything that is kept of a trained network.

    Args:
        name: under which `condense.teachers.teacher` gives it again: "resnet18:norm=batch",
            "torchvision:resnet18@IMAGENET1K_V1" or, for a file, "resnet18:norm=batch@teacher.pt#<digits of its state>".
        network: a name that `condense.networks.build` knows.
        state: its parameters and buffers, on the CPU.
        preprocessing: the pixel space of its inputs.
        shape: (C, H, W) that it was built for.
        n_classes: K, its outputs.
        accuracy: in [0, 1], on images of the training split; `accuracy_on` says which.
        trained_on: which images it learned from, in words.
        accuracy_on: which images measured it, in words: only those that it did not learn from say how good it is.
        recipe: how it was trained, as JSON; None where that happened elsewhere.
        operations: of its training, a multiply-add counting as two; 0 where that happened elsewhere.
        seconds: that its training took on the machine that did it.
    """

    name: str
    network: str
    state: Mapping[str, Tensor]
    preprocessing: Preprocessing
    shape: tuple[int, int, int]
    n_classes: int
    accuracy: float
    trained_on: str
    accuracy_on: str
    recipe: Mapping[str, Any] | None = None
    operations: float = 0.0
    seconds: float = 0.0

    def module(self, device: torch.device | str = "cpu") -> Network:
        """The network itself: in evaluation mode, frozen, a copy of its own at each call.

        Raises:
            BadInput: when the state is not that of the network.
        """
        module = networks.build(self.network, self.shape, self.n_classes)
        try:
            module.load_state_dict(dict(self.state))
        except RuntimeError as error:
            raise BadInput(f"the weights of teacher {self.name!r} do not fit {self.network!r}: {error}") from error
        return module.to(device).eval().requires_grad_(False)

    def facts(self) -> dict[str, Any]:
        """What a set that was made from it records, as plain values."""
        return {
            "name": self.name,
            "network": self.network,
            "state": checksum(self.state),
            "preprocessing": self.preprocessing.spec(),
            "accuracy": self.accuracy,
            "accuracy_on": self.accuracy_on,
            "trained_on": self.trained_on,
            "recipe": None if self.recipe is None else dict(self.recipe),
            "operations": self.operations,
        }


def provenance(teachers: Sequence[Teacher]) -> dict[str, Any]:
    """What a distilled set says of the teachers that it was made from; seconds stand outside the set's identity."""
    seconds = {teacher.name: round(teacher.seconds, 1) for teacher in teachers}
    return {"teachers": [teacher.facts() for teacher in teachers], "volatile": {"teacher_seconds": seconds}}
