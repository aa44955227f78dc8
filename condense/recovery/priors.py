"""Prior performance of a committee's members, stated or measured: what images of each alone teach (CV-DD, Sec. 3.2)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from condense import networks
from condense.data import Split, validation_split
from condense.distilled.labels.committee import Statistics
from condense.distilled.views import PlainView
from condense.errors import BadInput
from condense.preprocessing import Preprocessing
from condense.recovery.synthesis import Synthesis, images
from condense.run import Run
from condense.soft_labels import LabelRecipe, label
from condense.teachers import Teacher
from condense.tensor_format import checksum
from condense.training import Loss, Recipe, Resident, Schedule, SplitSource, accuracy
from condense.training import train as fit


def stated(priors: str, members: int) -> list[float]:
    """The numbers in "63.0+65.3+68.5", one for each member of a committee.

    Raises:
        BadInput: for another count, or something that is no percentage.
    """
    parts = priors.split("+")
    try:
        found = [float(part) for part in parts]
    except ValueError:
        found = []
    if len(found) != members or not all(0 <= value <= 100 for value in found):
        raise BadInput(f"priors are {members} percentages joined by +, one for each member; got {priors!r}")
    return found


@dataclass(frozen=True)
class Student:
    """Who learns from the images of one member alone, to measure its prior performance.

    Args:
        network: its name.
        ipc: images per class that it learns from.
        epochs, batch: of its training.
        temperature, statistics: of the member's labels, asked while it learns; batch statistics are those of a step.
    """

    network: str
    ipc: int
    epochs: int
    batch: int
    temperature: float
    statistics: Statistics

    @classmethod
    def of(cls, config: Any) -> Self:
        """The student that a method's configuration states in `prior_*`, `label_*` and `temperature`."""
        return cls(
            config.prior_student,
            config.prior_ipc,
            config.prior_epochs,
            config.label_batch,
            config.temperature,
            config.label_statistics,
        )

    def recipe(self, flips: bool) -> Recipe:
        """The authors' validation, ResNet-18 on CIFAR."""
        return Recipe(
            epochs=self.epochs,
            batch=self.batch,
            optimiser="adamw",
            lr=1e-3,
            weight_decay=0.01,
            decay="matrices",
            schedule=Schedule("cosine"),
            augment={"kind": "random-resized-crop", "scale": [0.08, 1.0], "ratio": [3 / 4, 4 / 3], "flip": flips},
            mix={"kind": "cutmix", "alpha": 1.0, "probability": 1.0},
            loss=Loss("kl", temperature=self.temperature),
        )

    def operations(self, member: str, train: Split, steps: int) -> float:
        """Of recovering its images from a member, and of its training with the member's labels."""
        alone = networks.work(member.partition("@")[0], train.shape, train.n_classes).operations
        own = networks.work(self.network, train.shape, train.n_classes).operations
        images = self.ipc * train.n_classes
        return images * ((2.0 * steps + self.epochs) * alone + 3.0 * self.epochs * own)


_VERSION = 2  # of a prior performance: raised when recovery, labels or training come to give another one


def _told_apart(settings: Synthesis) -> dict[str, Any]:
    """What tells one recovery from another: how many images are in memory at a time does not.

    What is at its default is left out, so that a field that comes to be needed does not lose what is in the cache.
    """
    given = {entry.name: (getattr(settings, entry.name), entry.default) for entry in dataclasses.fields(settings)}
    return {name: value for name, (value, default) in given.items() if value != default and name != "chunk"}


def prior_performance(
    member: Teacher, train: Split, settings: Synthesis, student: Student, space: Preprocessing, run: Run
) -> float:
    """Percent of held-out training images that a student gets right which learned from images of this member alone.

    Kept in the cache, and one draw: chance follows from the key, so that all sets of one committee and settings share
    the number, whatever their seed, and the students of two members are not paired. Images start from the nine tenths
    that the teacher saw, the last tenth only measures: so a choice is made on training images that nobody learned
    from, as `run.validate` would, and afterwards the set itself is recovered with all of them to start from.
    """
    recipe = student.recipe(train.flips)
    key = {
        "kind": "prior performance",
        "data": train.fingerprint,
        "preprocessing": space.digest,
        "teacher": {"network": member.network, "state": checksum(member.state)},
        "recovery": _told_apart(settings),
        "student": {"network": student.network, "ipc": student.ipc, "recipe": recipe.spec()},
        "labels": student.statistics,
    }

    def build(sub: Run) -> dict[str, float]:
        kept, held = validation_split(train)
        counts = [min(student.ipc, have) for have in kept.class_counts()]
        pixels, classes = images([member], kept, counts, settings, space, sub)
        asked = LabelRecipe(
            "teacher", teachers=member.name, statistics=student.statistics, temperature=student.temperature
        )
        labels = label(asked, PlainView(pixels, space), classes, kept, space, sub, wise=[member])
        network = networks.build(student.network, train.shape, train.n_classes, sub.rng("student")).to(sub.device)
        fit(network, Resident(space.forward(pixels), labels, train.n_classes), recipe, sub.rng, run=sub)
        return {"percent": 100 * accuracy(network, SplitSource(held, space))}

    percent: float = run.cached(key, build, _VERSION)["percent"]
    return percent
