"""Barlow Twins: a network that learns from images without labels.

Zbontar, Jing, Misra, LeCun & Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021,
https://arxiv.org/abs/2103.03230, Alg. 1.

Departures from the paper:
    - Adam with a cosine and a warm-up instead of LARS; batch 256 instead of 2048 (small images, one device).
    - a projector of width 2048 instead of 8192, for embeddings of 512 numbers and fewer.
    - views without blur and solarisation (`condense.self_supervised.views`).
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from condense import networks
from condense.data import Split
from condense.errors import BadInput
from condense.method import Cost
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.self_supervised.views import Views
from condense.training import Schedule
from condense.training.optimisers import set_rate

_EPSILON = 1e-5  # added to the variance, as batch norm does


@dataclass(frozen=True)
class BarlowTwins:
    """How a teacher is trained on an unlabelled split.

    Raises:
        BadInput: for a number out of range.
    """

    network: str = "resnet18:norm=batch"
    epochs: int = 200
    batch: int = 256  # larger than the split: the whole split
    lr: float = 1e-3
    weight_decay: float = 1e-6
    warmup: int = 10  # epochs; at most half of them
    projector: int = 2048  # width of the three-layer projector, thrown away afterwards
    off_diagonal: float = 5e-3  # lambda
    views: Views = field(default_factory=Views)
    precision: str = "float32"  # of convolutions and products: float32 | bfloat16

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "projector"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.batch < 2:
            raise BadInput("Barlow Twins compares images of a batch with one another; give a batch of at least 2")
        if self.precision not in ("float32", "bfloat16"):
            raise BadInput(f"precision must be float32 or bfloat16, got {self.precision!r}")

    def spec(self) -> dict[str, Any]:
        """Plain JSON values: part of the key under which a teacher is cached."""
        plain = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        return plain | {"kind": "barlow-twins", "views": self.views.spec(), "network": networks.canonical(self.network)}

    def for_split(self, split: Split) -> BarlowTwins:
        """The same recipe without mirror images where they change what an image shows."""
        return self if split.flips else dataclasses.replace(self, views=self.views.without_flip())

    def steps_per_epoch(self, samples: int) -> int:
        """The last batch is left out when it is not full."""
        return max(1, samples // self.batch)

    def schedule(self) -> Schedule:
        return Schedule("cosine", per="step", warmup=min(self.warmup, self.epochs // 2))


def cross_correlation(first: Tensor, second: Tensor) -> Tensor:
    """C, the correlations between the coordinates of two views' projections, each (N, P).  Returns (P, P)."""
    return _standardised(first).T @ _standardised(second) / len(first)


def invariance(correlation: Tensor) -> Tensor:
    """sum_i (1 - C_ii)^2: both views say the same."""
    return (1.0 - correlation.diagonal()).square().sum()


def redundancy(correlation: Tensor) -> Tensor:
    """sum_{i != j} C_ij^2: no two coordinates say the same."""
    return correlation.square().sum() - correlation.diagonal().square().sum()


def barlow_twins_loss(first: Tensor, second: Tensor, off_diagonal: float) -> Tensor:
    """Eq. 1: invariance + lambda redundancy, of projections (N, P) of two views of the same N images.  A scalar."""
    correlation = cross_correlation(first, second)
    return invariance(correlation) + off_diagonal * redundancy(correlation)


def pretrain(
    train: Split, space: Preprocessing, recipe: BarlowTwins, run: Run, network: networks.Network | None = None
) -> networks.Network:
    """Trains a network on the images of a split; labels are never asked for.

    Args:
        network: to start from, in place; by default a fresh one of the recipe's kind from the run's generators. Its
            classifier is not used and stays as it is.

    Raises:
        BadInput: for fewer than two images.
        Diverged: when the loss or a weight is not finite.
    """
    if len(train) < 2:
        raise BadInput(f"Barlow Twins compares images of a batch with one another, the split has {len(train)} image")
    recipe = recipe.for_split(train)
    if network is None:
        network = networks.build(recipe.network, train.shape, 1, run.rng("network"))
    network = run.place(network).train()
    head = projector(network.classifier.in_features, recipe.projector, run.rng("projector")).to(run.device)
    body = [weight for name, weight in network.named_parameters() if not name.startswith("classifier.")]
    optimizer = torch.optim.Adam([*body, *head.parameters()], lr=recipe.lr, weight_decay=recipe.weight_decay)
    embed = run.compiled(network.embed)
    per_epoch, schedule = recipe.steps_per_epoch(len(train)), recipe.schedule()

    @functools.lru_cache(maxsize=1)
    def order(epoch: int) -> Tensor:
        return torch.randperm(len(train), generator=run.rng("order", epoch))

    state = run.state(network=network, head=head, optimizer=optimizer)
    for step in run.loop("barlow-twins", recipe.epochs * per_epoch, state):
        epoch, position = divmod(step, per_epoch)
        set_rate(optimizer, recipe.lr * schedule.multiplier(epoch, position, per_epoch, recipe.epochs))
        rows = order(epoch)[position * recipe.batch : (position + 1) * recipe.batch]
        pixels = train.take(rows).to(run.device).float() / 255
        with torch.autocast(torch.device(run.device).type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            first, second = (
                head(embed(space.forward(recipe.views(pixels, run.rng("view", step, side))))) for side in (0, 1)
            )
        loss = barlow_twins_loss(first.float(), second.float(), recipe.off_diagonal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss.detach())
    return network


def projector(features: int, width: int, generator: torch.Generator) -> nn.Sequential:
    """Three linear layers with batch norm and ReLU between them: (N, features) -> (N, width)."""
    layers: list[nn.Module] = []
    for inputs in (features, width):
        layers += [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
    head = nn.Sequential(*layers, nn.Linear(width, width, bias=False))
    networks.initialise(head, generator)
    return head


def pretraining_cost(train: Split, recipe: BarlowTwins) -> Cost:
    """Two views of every image, forward and backward, in each epoch."""
    network = networks.build(recipe.network, train.shape, 1)
    width, features = recipe.projector, network.classifier.in_features
    batch = min(recipe.batch, len(train))
    # A multiply-add counts as two: the projector for each view, and the correlation matrix once for each batch.
    head = 2 * (features * width + 2 * width**2) + width**2
    forward, kept = networks.operations(network, train.shape), networks.activation_bytes(network, train.shape)
    return Cost(operations=6.0 * (forward + head) * len(train) * recipe.epochs, memory_bytes=2.0 * kept * batch)


def _standardised(values: Tensor) -> Tensor:
    """(N, P) with mean 0 and variance 1 in every column."""
    centred = values - values.mean(0)
    return centred / (centred.square().mean(0) + _EPSILON).sqrt()
