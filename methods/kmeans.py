"""K-means selection: the real images nearest to the centres of a clustering of each class.

Lloyd, "Least Squares Quantization in PCM", IEEE Trans. Information Theory 28(2), 1982; seeding by Arthur &
Vassilvitskii, "k-means++", SODA 2007.

Departures from the paper:
    - a centre is replaced by the nearest image that no other centre took, because a selection holds real images.
    - features come from a ConvNet trained on the training split.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from condense import preprocessing
from condense.budget import Budget
from condense.clustering import cluster, nearest_to_centres
from condense.data import Split
from condense.distilled import DistilledSet
from condense.features import select_by_class, trained_features, training_cost
from condense.method import Cost, Count, Method, Preset
from condense.run import Run

ABOUT = Method(
    title="K-Means",
    paper="Lloyd, Least Squares Quantization in PCM, IEEE Trans. Information Theory, 1982",
    url="https://doi.org/10.1109/TIT.1982.1056489",
    family="selection",
    kind="selection",
)


@dataclass(frozen=True)
class Config:
    network: str = "convnet"  # phi, the network whose embedding is used; its depth follows the image size
    epochs: int = 20  # of its training on the training split
    restarts: Count = 3  # seedings tried; the clustering with the least squared error is kept
    preprocessing: str = "normalise"  # pixel space of training: normalise | zca | identity


PRESETS = {
    "cpu": Preset(
        Config(network="convnet:width=32", epochs=10), "two cores, digits", distill_seconds=3.0, judge_seconds=3.0
    )
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Clusters each class in the feature space of one trained network."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    features = trained_features(train, space, config.network, config.epochs, run)

    def nearest(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
        return nearest_to_centres(features, cluster(features, count, config.restarts, generator))

    return DistilledSet.selection(select_by_class(train, budget, features, nearest, run), train, space)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """The training of the feature network; the clustering itself is small beside it."""
    return training_cost(train, config.network, config.epochs)
