"""The linear-probe gate: a teacher must have learned something that random weights do not have."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from condense import networks
from condense.data import Split, validation_split
from condense.probing import ridge_probe, take_statistics
from condense.run import Run
from condense.run.randomness import generator
from condense.self_supervised.content import images_digest
from condense.self_supervised.features import teacher_features
from condense.self_supervised.teacher import Teacher

MARGIN = 0.10  # of accuracy, above the same network with random weights
HELD_OUT = "a tenth of the training images; a teacher trained on this split has seen them, without their labels"


@dataclass(frozen=True)
class Gate:
    """Linear-probe accuracies, fractions of held-out training images."""

    teacher: float
    random: float

    @property
    def passed(self) -> bool:
        return self.teacher - self.random >= MARGIN

    def spec(self) -> dict[str, Any]:
        """The measurement as JSON values."""
        return {**dataclasses.asdict(self), "margin": MARGIN, "passed": self.passed, "scored_on": HELD_OUT}


def linear_probe_gate(train: Split, teacher: Teacher, run: Run) -> Gate:
    """Probes the teacher and the same network with random weights on a labelled training split.

    The probe is fitted on nine tenths of `train` and scored on the tenth that `validation_split` holds back; no test
    image is seen. A teacher that was trained on `train` has seen that tenth too, without its labels: the gate says that
    the teacher learned from these images, not what it would make of others. The random network's batch-norm statistics
    are those of the training images, since untouched ones would make it worse than random weights have to be.
    """
    kept, held = validation_split(train)
    random = _random_twin(train, teacher)
    scores = []
    for candidate in (teacher, random):
        fitted = ridge_probe(teacher_features(kept, candidate, run), kept.labels, train.n_classes)
        scores.append(fitted.accuracy(teacher_features(held, candidate, run), held.labels))
    return Gate(*scores)


def _random_twin(train: Split, teacher: Teacher) -> Teacher:
    network = networks.build(teacher.name, train.shape, 1, generator("random teacher"))
    network.to(next(teacher.network.parameters()).device)
    take_statistics(network, train, teacher.space)
    images = images_digest(train)
    identity = {
        "kind": "random weights",
        "network": teacher.name,
        "images": images,
        "space": teacher.space.digest,  # its batch statistics are those of images in that space
    }
    return Teacher(network, teacher.name, teacher.space, identity, teacher.precision)
