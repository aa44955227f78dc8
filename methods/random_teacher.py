"""Random images with a teacher's features: the baseline of distillation without labels.

A method that learns images and target representations must beat real images whose targets are simply the teacher's, or
its learning adds nothing to knowledge distillation. A later re-evaluation of KRR-ST (MKDT, ICLR 2025) found sets that
do not, when networks are trained on them briefly and probed linearly. With one seed the images are those that KRR-ST
starts from, so that the two differ in learning alone.

Departures from the paper: none; there is no paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condense import preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet, Representations
from condense.method import Cost, Method, Preset
from condense.run import Run
from condense.self_supervised import random_images, teacher_cost, teacher_for

ABOUT = Method(
    title="Random + teacher features",
    paper="Uniform choice, targets of a self-supervised teacher",
    url="",
    family="self-supervised",
    kind="selection",
    uses_labels=False,
)


@dataclass(frozen=True)
class Config:
    teacher: str = "barlow-twins"  # g_phi, trained here, or "torchvision:resnet18@IMAGENET1K_V1", or "NETWORK@FILE"
    teacher_network: str = "resnet18:norm=batch"  # of a teacher that is trained here
    teacher_epochs: int = 200  # of its training
    teacher_projector: int = 2048  # width of its projector while it is trained
    teacher_precision: Literal["float32", "bfloat16"] = "float32"  # of its convolutions
    preprocessing: str = "normalise"  # pixel space of training on the set: normalise | zca | zca-relative | identity


PRESETS = {
    "cpu": Preset(
        Config(teacher_network="convnet-d2:norm=batch,width=32", teacher_epochs=20, teacher_projector=128),
        "two cores, digits",
        distill_seconds=8.0,
        judge_seconds=1.0,
    )
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Draws images without looking at classes; the target of each is the teacher's feature vector."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    indices, targets = random_images(train, budget, teacher_for(train, config, run), run)
    return DistilledSet.selection(indices, train, space, Representations(targets))


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """The teacher."""
    return teacher_cost(train, config)
