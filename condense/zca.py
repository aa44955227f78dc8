"""ZCA whitening with a ridge: the matrices, from the moments of a training split.

    S = (X - mu)^T (X - mu) / (n - 1) = U diag(l) U^T,    W = U diag((l + epsilon)^(-1/2)) U^T

or, where pixels are first divided by a scale s: l and U of S / (s s^T), and W = diag(1 / s) U diag(...) U^T. A
relative epsilon is multiplied by the mean of l, the mean variance.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, appendix A. Trajectory matching uses
epsilon = 0.1 on pixels in [0, 1], which is large: directions with l well above 0.1 are whitened, fine detail is
multiplied by about 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from condense.data import Split

_CHUNK = 1024  # images; see `moments`


def moments(train: Split) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D; n - 1 in the denominator) of pixels in [0, 1], float64 on the CPU; n >= 2.

    Levels are shifted to [-128, 127], so that a sum of 1,024 products stays within 2^24 and is exact in float32 (in
    TF32 and bfloat16 products too), at twice the speed of float64; the sums over chunks are exact in float64. The
    result is therefore the same on every machine and for any number of threads, and no copy of the split is made.
    """
    size = math.prod(train.shape)
    products = torch.zeros(size, size, dtype=torch.float64)
    sums = torch.zeros(size, dtype=torch.float64)
    count = len(train)
    for start in range(0, count, _CHUNK):
        images = train.take(torch.arange(start, min(start + _CHUNK, count)))
        levels = images.flatten(1).to(torch.float32) - 128  # (B, D)
        products += (levels.T @ levels).cpu()
        sums += levels.sum(0).cpu()
    covariance = (count * products - torch.outer(sums, sums)) / (count * (count - 1)) / 255**2
    return (sums / count + 128) / 255, covariance


def matrices(
    mean: Tensor, covariance: Tensor, epsilon: float, scale: Tensor, *, relative: bool = False
) -> dict[str, Tensor]:
    """{"mean": mu (D,), "whiten": W (D, D), "unwhiten": W^-1 (D, D)}, in the type of the moments; epsilon > 0.

    scale: what pixels are divided by before they are whitened, positive, (D,); ones for pixels in [0, 1].
    relative: whether epsilon is in units of the mean variance after that, tr(S / (s s^T)) / D.
    """
    covariance = covariance / torch.outer(scale, scale)
    values, vectors = torch.linalg.eigh(covariance)  # ascending (D,), columns of (D, D)
    if relative:
        epsilon *= float(covariance.diagonal().mean())
    # Rounding may leave a singular covariance slightly below zero.
    root = (values.clamp_min(0) + epsilon).sqrt()
    whiten, unwhiten = (vectors / root) @ vectors.T, (vectors * root) @ vectors.T
    return {"mean": mean, "whiten": whiten / scale[:, None], "unwhiten": unwhiten * scale}


def misfit(found: Mapping[str, Tensor], size: int) -> str:
    """Why tensors are not the matrices of a whitening of `size` numbers; empty when they are."""
    expected = {"mean": (size,), "unwhiten": (size, size), "whiten": (size, size)}
    if set(found) != set(expected):
        return f"expected {', '.join(expected)}, got {', '.join(sorted(found)) or 'none'}"
    for name, shape in expected.items():
        if tuple(found[name].shape) != shape:
            return f"{name} should be {shape}, is {tuple(found[name].shape)}"
    return ""
