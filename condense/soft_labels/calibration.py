"""Which answers for regions to trust (Shen, "FerKD: Surgical Label Adaptation for Efficient Distillation", ICCV 2023,
arXiv 2312.17473).

A region may show the object, a part of it with its surroundings, or something else. With q, the largest probability
that the teacher gives a region of an image of class y, at temperature 1 whatever the labels are softened by:
    q >= high          the answer is kept
    low <= q < high    softened hard label: 1 - eps at y, eps / (K - 1) elsewhere
    q < low            no label: a row of zeros, from which neither cross-entropy nor KL has a gradient
The paper gives the partition; its thresholds were not read, so the defaults here are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from condense.errors import BadInput, UnknownName


@dataclass(frozen=True)
class Calibration:
    """The partition and what becomes of each part.

    Raises:
        BadInput: for thresholds that do not ascend within [0, 1], or a softening outside [0, 1).
    """

    low: float = 0.2  # certainty below which a region has no label
    high: float = 0.6  # certainty from which the answer is kept
    softening: float = 0.1  # eps, what the softened hard label leaves to the other classes

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1 or not 0 <= self.softening < 1:
            raise BadInput(
                f"a calibration needs 0 <= low <= high <= 1 and 0 <= softening < 1, got {self.low}, {self.high} and "
                f"{self.softening}"
            )

    def __call__(self, logits: Tensor, classes: Tensor, temperature: float = 1.0) -> Tensor:
        """Calibrated targets (N, K).

        logits: (N, K), whose softmax at `temperature` are the answers.  classes: (N,) int64.
        """
        certainty = logits.softmax(1).max(1, keepdim=True).values
        answers = (logits / temperature).softmax(1)
        harder = softened(classes, answers.shape[1], self.softening, answers)
        return torch.where(certainty >= self.high, answers, harder) * (certainty >= self.low)

    def spec(self) -> Mapping[str, Any]:
        """Plain JSON values, which `from_spec` reads."""
        return asdict(self)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Calibration:
        """Reads what `spec` writes.

        Raises:
            UnknownName: for a field that does not exist.
            BadInput: for values that do not fit each other.
        """
        known = [entry.name for entry in fields(cls)]
        if unknown := [name for name in spec if name not in known]:
            raise UnknownName("field of a calibration", unknown[0], known)
        return cls(**spec)


def softened(classes: Tensor, n_classes: int, softening: float, like: Tensor) -> Tensor:
    """Rows (N, K) of the type of `like`: 1 - eps at the class, eps spread evenly over the others."""
    rest = softening / max(1, n_classes - 1)
    rows = like.new_full((len(classes), n_classes), rest)
    return rows.scatter(1, classes[:, None], 1.0 - softening)
