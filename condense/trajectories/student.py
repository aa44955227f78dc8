"""The student of an outer step: which synthetic images it sees in which step, and what is done to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from condense.augment import Augmentation
from condense.errors import BadInput
from condense.flat import FlatNetwork
from condense.mirror import Expansion, mirrored
from condense.run import Run
from condense.trajectories.sampling import halved, minibatches
from condense.unroll import Engine, InnerLoop

# Graphs that are kept between the two sweeps; on a 4 GB machine there is room for experts' files and data beside them.
GRAPH_BYTES = 2**30


def student_engine(name: str, bfloat16: bool, run: Run) -> Engine:
    """The engine of `condense.unroll`: compiled if the run was asked to, else keeping graphs where it can."""
    keeps = name in ("adjoint", "tesla") and not run.compiles
    return Engine(name, bfloat16, run.compiles, GRAPH_BYTES if keeps else 0)


@dataclass(frozen=True)
class Student:
    """N steps on minibatches, mirrored (FYI) and then augmented.

    Attributes:
        network: the architecture, the experts' own.
        augment: drawn for each image, also for each mirror image.
        expand: mirror images, or nothing; with them a step draws half as many images, so that it trains on as many.
        steps: N.
        batch: b, images in a step; None: all.

    Raises:
        BadInput: for a batch without an image.
    """

    network: FlatNetwork
    augment: Augmentation
    expand: Expansion
    steps: int
    batch: int | None

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise BadInput(f"batch must be at least 1 image, got {self.batch}; none takes all of them")

    def loop(
        self, images: Tensor, generator: torch.Generator, *, momentum: float = 0.0, scale: float = 1.0
    ) -> InnerLoop:
        """The inner loop of one outer step.  images: (M, C, H, W).  Everything random is drawn here.

        momentum, scale: as in `condense.unroll.InnerLoop`.
        """
        count, shape = len(images), images.shape[1:]
        doubles = self.expand is mirrored
        rows = minibatches(count, halved(self.batch, count) if doubles else self.batch, self.steps, generator)
        draws = [self.augment.draw(len(batch) * (1 + doubles), shape, generator) for batch in rows]

        def prepare(step: int, batch: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            batch, targets = self.expand(batch, targets)
            return self.augment.apply(batch, draws[step]), targets

        return InnerLoop(self.network, rows, prepare, momentum, scale)
