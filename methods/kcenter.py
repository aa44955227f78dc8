"""K-center greedy: real images such that no image of the class is far from a chosen one.

Sener & Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018,
https://arxiv.org/abs/1708.00489, Alg. 1.

Departures from the paper:
    - each class is covered by itself, so that the budget per class holds; the first centre is the image nearest to the
      class mean instead of the already labelled pool (there is none), which makes the choice independent of the seed.
    - features come from a ConvNet trained on the training split.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from condense import preprocessing
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.features import select_by_class, trained_features, training_cost
from condense.method import Cost, Method, Preset
from condense.run import Run

ABOUT = Method(
    title="K-Center",
    paper="Sener & Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018",
    url="https://arxiv.org/abs/1708.00489",
    family="selection",
    kind="selection",
    seeded=False,
)


@dataclass(frozen=True)
class Config:
    network: str = "convnet"  # phi, the network whose embedding is used; its depth follows the image size
    epochs: int = 20  # of its training on the training split
    preprocessing: str = "normalise"  # pixel space of training: normalise | zca | identity


PRESETS = {
    "cpu": Preset(
        Config(network="convnet:width=32", epochs=10), "two cores, digits", distill_seconds=3.0, judge_seconds=3.0
    )
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Covers each class in the feature space of one trained network."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    features = trained_features(train, space, config.network, config.epochs, run)
    return DistilledSet.selection(select_by_class(train, budget, features, cover, run), train, space)


def cover(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Greedy 2-approximation of the k-centre problem (Alg. 1).

    features: (n, D).  Returns rows (count,).  Ties go to the lower row; nothing is random.
    """
    wide = features.double()
    row = int((wide - wide.mean(dim=0)).norm(dim=1).argmin())
    distance = torch.full((len(wide),), torch.inf, dtype=torch.float64)  # to the nearest chosen image
    chosen = []
    for _ in range(count):
        chosen.append(row)
        distance = torch.minimum(distance, (wide - wide[row]).norm(dim=1))
        distance[row] = -1.0  # chosen images are never chosen again, duplicates of them may be
        row = int(distance.argmax())
    return torch.tensor(chosen)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """The training of the feature network; the rule itself is small beside it."""
    return training_cost(train, config.network, config.epochs)
