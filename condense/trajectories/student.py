"""The student of an outer step: which synthetic images it sees when, and how its training is differentiated."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from condense import networks
from condense.augment import Augmentation
from condense.augment.augmentation import require_flips
from condense.budget import Budget
from condense.data import Split
from condense.errors import BadInput
from condense.flat import FlatNetwork
from condense.mirror import mirrored, unchanged
from condense.run import Run
from condense.trajectories.descent import require_momentum, require_positive
from condense.trajectories.sampling import halved, minibatches
from condense.trajectories.settings import Settings
from condense.unroll import Engine, InnerLoop, Segment, choose, outer_loss


@dataclass(frozen=True)
class Student:
    """N steps on minibatches, mirrored (FYI) and then augmented.

    Attributes:
        network: the architecture, the experts' own.
        augment: drawn for each image, also for each mirror image.
        mirror: whether mirror images join a step, which then draws half as many images, so that it trains on as many.
        steps: N.
        batch: b, images in a step; None: all.
        engine: how its training is differentiated.

    Raises:
        BadInput: for a batch without an image.
    """

    network: FlatNetwork
    augment: Augmentation
    mirror: bool
    steps: int
    batch: int | None
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise BadInput(f"batch must be at least 1 image, got {self.batch}; none takes all of them")

    def loss(
        self,
        segment: Segment,
        images: Tensor,
        labels: Tensor,
        step_size: Tensor,
        generator: torch.Generator,
        *,
        momentum: float = 0.0,
        scale: float = 1.0,
    ) -> Tensor:
        """How far from the expert a training on the synthetic set arrives, differentiable in the set and step size.

        The arguments are those of `loop` and of `condense.unroll.outer_loss`.  A scalar.
        """
        inner = self.loop(images, generator, momentum=momentum, scale=scale)
        return outer_loss(inner, segment, images, labels, step_size, self.engine).loss

    def loop(
        self, images: Tensor, generator: torch.Generator, *, momentum: float = 0.0, scale: float = 1.0
    ) -> InnerLoop:
        """The inner loop of one outer step.  images: (M, C, H, W).  Everything random is drawn here.

        momentum, scale: as in `condense.unroll.InnerLoop`.
        """
        count, shape = len(images), images.shape[1:]
        expand, copies = (mirrored, 2) if self.mirror else (unchanged, 1)
        batch = halved(self.batch, count) if self.mirror else self.batch
        rows = minibatches(count, batch, self.steps, generator)
        draws = [self.augment.draw(len(row) * copies, shape, generator) for row in rows]

        def prepare(step: int, batch: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            batch, targets = expand(batch, targets)
            return self.augment.apply(batch, draws[step]), targets

        return InnerLoop(self.network, rows, prepare, momentum, scale, copies=copies)


def student_of(
    config: Settings, train: Split, budget: Budget, augment: Augmentation, run: Run, *, mirror: bool = False
) -> Student:
    """The student that a configuration asks for; it needs no expert, so that bad settings are refused before any.

    Its training is compiled if the run may compile and the work repays it. That follows from configuration, data and
    device alone, so that a run which is continued goes on with the same engine. A line says why where it is not.

    mirror: whether mirror images join every batch.

    Raises:
        BadInput: for a network with state of its own, an unknown engine, a step size that is not positive, a momentum
            outside of [0, 1), memory for graphs that no machine has, a batch without an image, or mirror images of data
            whose classes they change.
    """
    require_positive(config.step_size)
    require_momentum("momentum", config.momentum)
    if mirror:
        require_flips(train, "mirror")
    network = FlatNetwork(networks.build(config.network, train.shape, train.n_classes).to(run.device))
    count = sum(budget.counts(train.class_counts(), train.classes))
    prepared = 2 * halved(config.batch, count) if mirror else min(config.batch or count, count)
    engine = _engine(config, network, train, config.steps * config.student_steps * prepared, run)
    return Student(network, augment, mirror, config.student_steps, config.batch, engine)


def _engine(config: Settings, network: FlatNetwork, train: Split, passes: int, run: Run) -> Engine:
    if not 0 <= config.graph_gibibytes < 2**20:
        raise BadInput(f"graph_gibibytes must lie between 0 and {2**20}, got {config.graph_gibibytes:g}")
    choice = choose(
        network,
        train.shape,
        passes,
        name=config.engine,
        device=run.device,
        bfloat16=config.bfloat16,
        graph_bytes=int(config.graph_gibibytes * 2**30),
        may_compile=run.compiles,
    )
    if choice.uncompiled is not None:
        run.progress.say(f"students are not compiled: {choice.uncompiled}")
    return choice.engine
