"""Linear probing in closed form: how well classes can be read off features by one linear layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from condense.data import Split
from condense.errors import BadInput
from condense.kernels import gram
from condense.networks import Network
from condense.preprocessing import Preprocessing
from condense.run.randomness import generator

# Ridge penalties tried, in units of the number of samples; features are standardised, so 1 halves an average direction.
_PENALTIES = tuple(10.0**exponent for exponent in (-5, -4, -3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1, 2, 3))
_EPSILON = 1e-12
_ROWS = 8192  # that are looked at together: 130 MB for 2048 features
_STATISTICS, _BATCH = 2048, 512  # images whose statistics a random network takes, and how many together


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier of features (N, D)."""

    weight: Tensor  # (D, K) float64
    bias: Tensor  # (K,)
    penalty: float  # that was chosen

    def values(self, features: Tensor) -> Tensor:
        """What is predicted of the targets: (N, D) -> (N, K) float64."""
        return features.double() @ self.weight + self.bias

    def predict(self, features: Tensor) -> Tensor:
        """The class of each row: (N, D) -> (N,) int64."""
        return self.values(features).argmax(1)

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """The fraction of rows whose class is right."""
        return int((self.predict(features) == labels).sum()) / len(labels)


def ridge_probe(features: Tensor, labels: Tensor, n_classes: int) -> Probe:
    """`ridge_regression` of one-hot classes.  labels: (N,) int64."""
    return ridge_regression(features, torch.nn.functional.one_hot(labels, n_classes))


def ridge_regression(features: Tensor, targets: Tensor, penalty: float | None = None) -> Probe:
    """Ridge regression on standardised features, with an intercept that is not penalised.

    The penalty is the one of a fixed grid with the least squared leave-one-out error, which is known in closed form
    from one eigendecomposition: error_i = (y_i - prediction_i) / (1 - leverage_i). Only these rows are looked at.

    features: (N, D), any float type; computed in float64.  targets: (N, K).
    penalty: one instead of the grid, in units of the squared standardised features.

    Raises:
        BadInput: for fewer than two rows, or another number of targets than rows.
    """
    if len(features) < 2 or len(features) != len(targets):
        raise BadInput(f"a probe needs at least two rows with a label each, got {len(features)} and {len(targets)}")
    targets = targets.to(features.device, torch.float64)
    centre = targets.mean(0)
    scale = _Scale.of(features)
    tried = [len(features) * each for each in _PENALTIES] if penalty is None else [penalty]
    penalties = torch.tensor(tried, dtype=torch.float64, device=features.device)
    solve = _by_features if len(features) > features.shape[1] else _by_rows
    weights, errors = solve(features, targets - centre, scale, penalties)
    best = int(errors.argmin())
    weight = weights[:, best] / scale.spread[:, None]  # (D, K)
    return Probe(weight, centre - scale.mean @ weight, float(penalties[best]))


@torch.no_grad()
def take_statistics(network: Network, train: Split, space: Preprocessing) -> None:
    """Gives a network the batch-norm statistics of 2048 images of `train`, in place.

    Before it is probed only: untouched statistics would make random weights worse than they have to be. Running
    statistics become plain averages over the batches; labels are not used.
    """
    network.eval()  # but for the layers in question: dropout stays off
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None  # an average over all batches instead of a decaying one
            layer.train()
    device = next(network.parameters()).device
    rows = torch.randperm(len(train), generator=generator("statistics"))[:_STATISTICS]
    parts = rows.split(_BATCH)
    for part in parts[:-1] if len(parts[-1]) == 1 < len(parts) else parts:  # one image has no variance
        network.embed(space.forward(train.take(part)).to(device))
    network.eval()


@dataclass(frozen=True)
class _Scale:
    """Mean and standard deviation of every feature, (D,) float64; a constant one, which says nothing, has spread 1."""

    mean: Tensor
    spread: Tensor

    @classmethod
    def of(cls, features: Tensor) -> _Scale:
        parts = features.split(_ROWS)  # together they would take twice the memory of float32 features
        mean = torch.stack([part.double().sum(0) for part in parts]).sum(0) / len(features)
        squares = torch.stack([(part.double() - mean).square().sum(0) for part in parts]).sum(0)
        spread = (squares / len(features)).sqrt()
        return cls(mean, torch.where(spread > _EPSILON, spread, 1.0))

    def __call__(self, features: Tensor) -> Tensor:
        """Standardised rows, float64."""
        return (features.double() - self.mean) / self.spread


# Of standardised rows x (N, D) and centred targets (N, K): weights (D, P, K) of all penalties, and their mean squared
# leave-one-out errors (P,).
Solution = tuple[Tensor, Tensor]


def _by_rows(features: Tensor, targets: Tensor, scale: _Scale, penalties: Tensor) -> Solution:
    """By the Gram matrix of the rows."""
    x = scale(features)
    sizes, directions = _principal(x @ x.T)  # (R,), (N, R)
    projected = directions.T @ targets
    inverse = 1 / (sizes[:, None] + penalties)  # (R, P)
    shrink = sizes[:, None] * inverse
    dual = directions @ _scaled(projected, inverse)  # (N, P*K)
    fits = directions @ _scaled(projected, shrink)
    leverages = directions.square() @ shrink
    errors = _squared_errors(targets, fits, leverages, len(x)) / targets.numel()
    return (x.T @ dual).view(x.shape[1], len(penalties), -1), errors


def _by_features(features: Tensor, targets: Tensor, scale: _Scale, penalties: Tensor) -> Solution:
    """By the Gram matrix of the features, some rows at a time."""
    blocks = list(zip(features.split(_ROWS), targets.split(_ROWS), strict=True))
    width, classes = features.shape[1], targets.shape[1]
    matrix, right = targets.new_zeros(width, width), targets.new_zeros(width, classes)
    for part, wanted in blocks:
        x = scale(part)
        matrix += gram(x.T)
        right += x.T @ wanted
    sizes, directions = _principal(matrix)  # (R,), (D, R)
    inverse = 1 / (sizes[:, None] + penalties)  # (R, P)
    weights = directions @ _scaled(directions.T @ right, inverse)  # (D, P*K)
    # Leverages are sums of squares, which lose no digits, and they choose between penalties that lie far apart.
    narrow, weighed = directions.float(), inverse.float()
    errors = torch.zeros_like(penalties)
    for part, wanted in blocks:
        x = scale(part)
        leverages = (x.float() @ narrow).square() @ weighed
        errors += _squared_errors(wanted, x @ weights, leverages.double(), len(features))
    return weights.view(width, len(penalties), classes), errors / targets.numel()


def _principal(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (R,) of a Gram matrix and its eigenvectors (n, R), without those that are zero but for rounding."""
    sizes, directions = torch.linalg.eigh(matrix)
    kept = sizes > _EPSILON * sizes.max()
    return sizes[kept], directions[:, kept]


def _scaled(projected: Tensor, factors: Tensor) -> Tensor:
    """(R, K) times the factors (R, P) of each penalty: (R, P*K)."""
    return (factors[:, :, None] * projected[:, None, :]).flatten(1)


def _squared_errors(wanted: Tensor, fits: Tensor, leverages: Tensor, count: int) -> Tensor:
    """Summed squared leave-one-out errors (P,) of some of `count` rows.

    wanted: (B, K) centred targets.  fits: (B, P*K).  leverages: (B, P), without that of the intercept.
    """
    residuals = wanted[:, None, :] - fits.view(len(wanted), leverages.shape[1], -1)  # (B, P, K)
    left = (1.0 - 1.0 / count - leverages).clamp(min=_EPSILON)
    return (residuals / left[:, :, None]).square().sum((0, 2))
