"""K-means in a teacher's feature space: the real images nearest to the centres, with the teacher's features as targets.

Lloyd, "Least Squares Quantization in PCM", IEEE Trans. Information Theory 28(2), 1982; seeding by Arthur &
Vassilvitskii, "k-means++", SODA 2007. A baseline of distillation without labels, beside `random_teacher`.

Departures from the paper:
    - a centre is replaced by the nearest image that no other centre took, because a selection holds real images.
    - features come from a self-supervised teacher; there are no classes to cluster apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condense import preprocessing
from condense.budget import Budget
from condense.clustering import cluster, nearest_to_centres
from condense.data import Split
from condense.distilled import DistilledSet, Representations
from condense.method import Cost, Count, Method, Preset
from condense.run import Run
from condense.self_supervised import teacher_cost, teacher_features, teacher_for

ABOUT = Method(
    title="K-Means + teacher features",
    paper="Lloyd, Least Squares Quantization in PCM, IEEE Trans. Information Theory, 1982",
    url="https://doi.org/10.1109/TIT.1982.1056489",
    family="self-supervised",
    kind="selection",
    uses_labels=False,
)


@dataclass(frozen=True)
class Config:
    restarts: Count = 3  # seedings tried; the clustering with the least squared error is kept
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
        distill_seconds=9.0,
        judge_seconds=1.0,
    )
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Clusters the whole split at once in the teacher's feature space."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    features = teacher_features(train, teacher_for(train, config, run), run)
    centres = cluster(features, budget.images(len(train), train.n_classes), config.restarts, run.rng("cluster"))
    indices = nearest_to_centres(features, centres).sort().values
    return DistilledSet.selection(indices, train, space, Representations(features[indices]))


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """The teacher; the clustering itself is small beside it."""
    return teacher_cost(train, config)
