"""The images of a set, recovered from one teacher or several: what the methods of this family share.

A method's configuration names its settings as `Synthesis` does; what is special to a method is who speaks for which
image (CV-DD), how the views go on (CDA) and what is recovered (INFER).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from condense.data import Split
from condense.preprocessing import Preprocessing
from condense.recovery.blocks import Descent, class_blocks, recover
from condense.recovery.objective import Objective
from condense.recovery.observed import Observed, observe
from condense.recovery.starting import Starting, starting_images
from condense.recovery.views import Curriculum, Draws, Views
from condense.run import Job, Run
from condense.teachers import Teacher

# Of the number of an image: the positions of the teachers that it is recovered from, and their votes.
Voters = Callable[[int], tuple[Sequence[int], Sequence[float]]]


@dataclass(frozen=True)
class Synthesis:
    """How images are recovered.

    Args:
        steps, lr: T and the first rate of `Descent`.
        statistics_weight, first_multiplier, chunk: of `Objective`.
        smallest_crop, flip, roll_from, roll_to, draws, curriculum, milestone: of `Views`.
        batch: B, classes that are recovered together, one image of each.
        initial: see `starting_images`.
    """

    steps: int
    lr: float
    statistics_weight: float
    first_multiplier: float
    smallest_crop: float
    flip: bool
    roll_from: int
    roll_to: int
    draws: Draws
    chunk: int | None
    curriculum: Curriculum = "constant"
    milestone: float = 1.0
    batch: int = 100
    initial: Starting = "noise"

    @classmethod
    def of(cls, config: Any) -> Self:
        """The fields of a method's configuration that have these names; those without a default must be there."""
        known = {entry.name for entry in dataclasses.fields(config)}
        required = {entry.name for entry in dataclasses.fields(cls) if entry.default is dataclasses.MISSING}
        names = [entry.name for entry in dataclasses.fields(cls) if entry.name in known | required]
        return cls(**{name: getattr(config, name) for name in names})

    def views(self, flips: bool) -> Views:
        """Of images whose class a mirror image keeps, or does not."""
        return Views(
            steps=self.steps,
            lowest=self.smallest_crop,
            curriculum=self.curriculum,
            milestone=self.milestone,
            flip=self.flip and flips,
            roll_from=self.roll_from,
            roll_to=self.roll_to,
            draws=self.draws,
        )

    def descent(self) -> Descent:
        """Of the images."""
        return Descent(self.steps, self.lr)

    def objective(self, observed: Sequence[Observed], votes: Sequence[float], run: Run) -> Objective:
        """The loss under these teachers, compiled where the run compiles."""
        strength = (self.statistics_weight, self.first_multiplier)
        return Objective(observed, votes, *strength, run.compiled, self.chunk)


def images(
    teachers: Sequence[Teacher],
    train: Split,
    counts: Sequence[int],
    settings: Synthesis,
    space: Preprocessing,
    run: Run,
    voters: Voters | None = None,
) -> tuple[Tensor, Tensor]:
    """Recovers counts[k] images of class k: uint8 pixels (M, C, H, W) sorted by class, and labels (M,) int64.

    voters: who says how much about which image; None: all teachers alike about every one.

    Raises:
        BadInput: for settings that cannot be, or a teacher without batch norm.
    """
    observed = observe(teachers, space, run)
    # By one teacher, the first, so that a committee starts from the images of its first member alone.
    first = starting_images(settings.initial, train, counts, space, teachers[0], run)
    alike = (range(len(teachers)), [1 / len(teachers)] * len(teachers))

    def prepare(job: Job) -> tuple[Tensor, Objective]:
        members, votes = alike if voters is None else voters(job.item.number)
        return first(job), settings.objective([observed[member] for member in members], votes, run)

    blocks = class_blocks(counts, settings.batch)
    return recover(blocks, prepare, settings.views(train.flips), settings.descent(), space, run)
