"""Class labels as targets of a regression: one-hot vectors moved to mean zero, and learned ones that keep their class.

Used by KIP and FRePo; the formulas are those of FRePo's code (Zhou, Nezhadarya & Ba, NeurIPS 2022,
https://arxiv.org/abs/2206.00719).
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import one_hot

from condense.errors import BadInput


def centred(labels: Tensor, n_classes: int) -> Tensor:
    """onehot - 1/K, the targets of real images.  labels: (N,) int64.  Returns (N, K) float32, on their device."""
    return one_hot(labels, n_classes).float() - 1.0 / n_classes


def initial_targets(labels: Tensor, n_classes: int) -> Tensor:
    """(onehot - 1/K) / sqrt(K / 10), from where learned labels start.  labels: (M,) int64.  Returns (M, K).

    Raises:
        BadInput: for a single class, whose centred labels are all zero.
    """
    if n_classes < 2:
        raise BadInput("a regression of labels needs at least two classes; with one there is nothing to tell apart")
    return centred(labels, n_classes) / math.sqrt(n_classes / 10)


def lost_margin(targets: Tensor) -> Tensor:
    """-mean_j min(y_(1) - y_(2), 1/K), largest minus second largest entry of each row: a scalar, at least -1/K.

    As a penalty it keeps the class of a learned label 1/K ahead of every other one, and does nothing beyond that.
    """
    first, second = targets.topk(2, dim=1).values.unbind(1)
    return -(first - second).clamp(max=1.0 / targets.shape[1]).mean()


def half_squared_error(prediction: Tensor, targets: Tensor) -> Tensor:
    """1/2 |P - Y|², summed over the classes and averaged over the batch.  prediction, targets: (n, K)."""
    return 0.5 * (prediction - targets).square().sum(dim=1).mean()
