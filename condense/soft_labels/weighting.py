"""How much one-hot and how much teacher a label should carry (Borup & Andersen, "Even your Teacher Needs Guidance",
NeurIPS 2021, arXiv 2102.13088, section 4).

A prediction that is linear in its targets, as kernel ridge regression's is, mixes as its targets do. With u the
predictions on validation data after training on ground truth alone, w those after training on soft labels alone and y
the truth, the squared error of a u + (1 - a) w is least at a* = <y - w, u - w> / |u - w|^2. Networks are linear only
near a point, so the estimate is the right region, to be confirmed by a training. Here `a` weighs the ground truth;
work on knowledge distillation often means the weight of the teacher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from condense import networks
from condense.data import Split, validation_split
from condense.distilled.labels import HardLabels, Labels, SoftLabels
from condense.errors import BadInput
from condense.features import embed
from condense.preprocessing import Preprocessing
from condense.probing import ridge_probe, ridge_regression
from condense.run import Run
from condense.soft_labels.images import Images
from condense.teachers import Teacher
from condense.training import Recipe, SplitSource, predict, train

_CHUNK = 256  # images whose features are computed together
_NO_DIFFERENCE = 1e-12  # |u - w|^2 below which the weight does not matter


@dataclass(frozen=True)
class Weight:
    """An estimated weight of the ground truth.

    value: a*, clipped to [0, 1], or a default where the data do not tell.
    raw: unclipped; below 0 the soft labels could be trusted beyond themselves, above 1 they only hurt.
    deviation: standard error of the raw value, from the residuals.
    """

    value: float
    raw: float
    deviation: float


def optimal_weight(truth: Tensor, on_truth: Tensor, on_soft: Tensor, *, otherwise: float = 0.1) -> Weight:
    """The weight a* of the ground truth that is best on validation data.

    Args:
        truth: (N, K) one-hot rows y.
        on_truth, on_soft: (N, K) predicted probabilities u and w; average them over seeds before, since noise in their
            difference pulls the estimate about.
        otherwise: the weight when both predictions are so much the same that the data do not tell: the standard error
            is wider than the whole range.

    Raises:
        BadInput: for predictions of another shape than the truth.
    """
    if truth.shape != on_truth.shape or truth.shape != on_soft.shape or truth.ndim != 2:
        raise BadInput(
            f"truth and both predictions are rows (N, K), got {tuple(truth.shape)}, {tuple(on_truth.shape)} and "
            f"{tuple(on_soft.shape)}"
        )
    y, u, w = truth.double(), on_truth.double(), on_soft.double()
    apart = float((u - w).square().sum())
    if apart < _NO_DIFFERENCE:
        return Weight(otherwise, otherwise, 0.0)
    raw = float(((y - w) * (u - w)).sum()) / apart
    residual = y - (raw * u + (1 - raw) * w)
    deviation = float((residual.square().mean() / apart).sqrt())
    return Weight(min(1.0, max(0.0, raw)) if deviation <= 1 else otherwise, raw, deviation)


def class_weights(truth: Tensor, on_truth: Tensor, on_soft: Tensor, *, prior: float = 100.0) -> Tensor:
    """A weight for each class, (K,) float64 in [0, 1]: a* on its own validation rows, shrunk to that on all of them.

    A class with n rows gets the part n / (n + prior) of its own estimate. Shapes as in `optimal_weight`.
    """
    overall = optimal_weight(truth, on_truth, on_soft)
    found = []
    for label in range(truth.shape[1]):
        rows = truth[:, label] == 1
        own = optimal_weight(truth[rows], on_truth[rows], on_soft[rows], otherwise=overall.raw)
        share = int(rows.sum()) / (int(rows.sum()) + prior)
        found.append(share * own.raw + (1 - share) * overall.raw)
    return torch.tensor(found, dtype=torch.float64).clamp(0, 1)


def mixed(classes: Tensor | None, soft: Tensor, weight: float | Tensor) -> Tensor:
    """Targets a y + (1 - a) p, (N, K).  classes: (N,) int64.  soft: (N, K) probabilities p.

    Cross-entropy and KL are linear in the target (KL up to a constant), so training on the mixed target is training on
    both losses with these weights, as long as the loss has temperature 1.

    Args:
        weight: a, one number, or one for each class (K,).

    Raises:
        BadInput: without classes, or for a weight outside [0, 1].
    """
    if classes is None:
        raise BadInput("mixing a ground truth into soft labels needs the class of each image; the set has none")
    chosen = torch.as_tensor(weight, dtype=soft.dtype, device=soft.device)
    if not bool(((chosen >= 0) & (chosen <= 1)).all()):
        raise BadInput(f"the weight of the ground truth lies in [0, 1], got {weight}")
    labels = classes.to(soft.device).long()
    part = chosen[labels][:, None] if chosen.ndim else chosen
    return part * F.one_hot(labels, soft.shape[1]).to(soft) + (1 - part) * soft


def regressed_weight(features: Tensor, classes: Tensor, soft: Tensor, held: Tensor, truth: Tensor) -> Weight:
    """The weight for a set without any training: by ridge regression, which is linear in its targets, on features.

    The classes and the soft labels of the set are regressed with one penalty, the one with the least leave-one-out
    error for the classes; both predict the held images.

    Args:
        features: (N, D) of the set's images.
        classes, soft: (N,) and (N, K) probabilities, the labels of each image.
        held: (M, D) features of real training images that the weight is chosen on; never of test images.
        truth: (M,) their classes.

    Raises:
        BadInput: for fewer than two images.
    """
    on_truth = ridge_probe(features, classes, soft.shape[1])
    on_soft = ridge_regression(features, soft, on_truth.penalty)
    return optimal_weight(F.one_hot(truth, soft.shape[1]), on_truth.values(held), on_soft.values(held))


@torch.no_grad()
def weight_by_teacher(
    images: Images, classes: Tensor, soft: Tensor, space: Preprocessing, train: Split, teacher: Teacher, run: Run
) -> Weight:
    """`regressed_weight` on a teacher's features, for the tenth of `train` that validation is done on.

    The teacher has seen that tenth in its own training, which makes both fits look better than they are.

    images: of the set, in `space`.  classes, soft: (N,) and (N, K) probabilities, the labels of each image.
    """
    network, own = teacher.module(run.device), teacher.preprocessing

    def described(rows: Tensor) -> Tensor:
        shown = images.gather(rows, run.device)
        return network.embed(shown if own.digest == space.digest else own.forward(space.inverse(shown))).cpu()

    features = torch.cat([described(rows) for rows in torch.arange(len(images)).split(_CHUNK)])
    _, held = validation_split(train)
    return regressed_weight(features, classes, soft, embed(network, held, own, _CHUNK), held.labels)


@dataclass(frozen=True)
class _Labelled:
    """The images of a set with labels of our own."""

    images: Images
    labels: Labels
    n_classes: int

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, indices: Tensor, device: torch.device) -> Tensor:
        return self.images.gather(indices, device)


def estimate_weight(
    images: Images,
    classes: Tensor,
    soft: Tensor,
    held: Split,
    space: Preprocessing,
    network: str,
    recipe: Recipe,
    run: Run,
    *,
    seeds: int = 3,
) -> Weight:
    """The weight for a set, by training on it twice for each seed: on its classes, and on its soft labels.

    Args:
        images: of the set, in `space`.
        classes, soft: (N,) and (N, K) probabilities, the labels of each image.
        held: real training images that the weight is chosen on; never test images.
        network, recipe: what is trained; the recipe's loss is a cross-entropy at temperature 1.
        seeds: trainings of each kind, whose predictions are averaged.
    """
    if recipe.loss.kind != "cross-entropy" or recipe.loss.temperature != 1.0:
        raise BadInput("the weight is estimated with a cross-entropy at temperature 1, which is linear in the target")
    kinds: dict[str, Labels] = {"truth": HardLabels(classes, soft.shape[1]), "soft": SoftLabels(soft)}
    test = SplitSource(held, space)

    def predicted(kind: str, seed: int) -> Tensor:
        # The same draws for both kinds, so that they differ by their targets alone.
        def rng(name: str, *ids: int) -> torch.Generator:
            return run.rng(f"weight-{name}", seed, *ids)

        module = networks.build(network, held.shape, held.n_classes, rng("network")).to(run.device)
        train(module, _Labelled(images, kinds[kind], soft.shape[1]), recipe, rng, run=run, phase=f"{kind}-{seed}")
        return predict(module, test).softmax(1).double().cpu()

    means: dict[str, Any] = {
        kind: torch.stack([predicted(kind, seed) for seed in range(seeds)]).mean(0) for kind in kinds
    }
    truth = F.one_hot(held.labels, held.n_classes).double()
    return optimal_weight(truth, means["truth"], means["soft"])
