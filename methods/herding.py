"""Herding: real images whose running feature mean follows the class mean.

Welling, "Herding Dynamical Weights to Learn", ICML 2009; as a selection rule Rebuffi et al., "iCaRL: Incremental
Classifier and Representation Learning", CVPR 2017, https://arxiv.org/abs/1611.07725, Alg. 4.

Departures from the paper:
    - features come from a ConvNet trained on the training split and keep their length (iCaRL: ResNet, unit length).
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
    title="Herding",
    paper="Welling, Herding Dynamical Weights to Learn, ICML 2009",
    url="https://arxiv.org/abs/1611.07725",
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
    """Herds each class in the feature space of one trained network."""
    space = preprocessing.fit(config.preprocessing, train, cache_dir=run.cache_dir)
    features = trained_features(train, space, config.network, config.epochs, run)
    return DistilledSet.selection(select_by_class(train, budget, features, herd, run), train, space)


def herd(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Greedy: the next image brings the mean of the chosen ones closest to the class mean (iCaRL, Alg. 4).

    features: (n, D).  Returns rows (count,).  Ties go to the lower row; nothing is random.
    """
    mean = features.double().mean(dim=0)  # mu
    wide = features.double()
    total = torch.zeros_like(mean)
    free = torch.ones(len(features), dtype=torch.bool)
    chosen = []
    for number in range(1, count + 1):
        gap = (number * mean - total - wide).norm(dim=1)
        row = int(gap.masked_fill(~free, torch.inf).argmin())
        total += wide[row]
        free[row] = False
        chosen.append(row)
    return torch.tensor(chosen)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """The training of the feature network; the rule itself is small beside it."""
    return training_cost(train, config.network, config.epochs)
