"""Kernel ridge regression, differentiable in support images and targets: Gram matrices, solves, predictors.

With features: `ridge_weights(support, targets, ridge)` is (D, d), and a prediction is `queries @ weights`.
With any other kernel: `dual_weights(gram, targets, ridge)` is (m, d), and a prediction is `kernel(queries, support) @
weights`.

Letters: m support samples, n queries, D features, d columns of the targets, C H W channels, height, width.
"""

from __future__ import annotations

from condense.kernels.chunks import embed, frozen_features, support_features
from condense.kernels.infinite import InfiniteNetwork
from condense.kernels.jitters import Jitters
from condense.kernels.regression import dual_weights, gram, operations, predict, ridge_weights
from condense.kernels.ridge import FREPO, KRR_ST, Ridge
from condense.kernels.solve import Factor, factorise

__all__ = [
    "FREPO",
    "KRR_ST",
    "Factor",
    "InfiniteNetwork",
    "Jitters",
    "Ridge",
    "dual_weights",
    "embed",
    "factorise",
    "frozen_features",
    "gram",
    "operations",
    "predict",
    "ridge_weights",
    "support_features",
]
