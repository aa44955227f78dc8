"""Linear probing in closed form: how well classes can be read off features by one linear layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from condense.data import Split
from condense.errors import BadInput
from condense.networks import Network
from condense.preprocessing import Preprocessing
from condense.run.randomness import generator

# Ridge penalties tried, in units of the number of samples; features are standardised, so 1 halves an average direction.
_PENALTIES = tuple(10.0**exponent for exponent in (-5, -4, -3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1, 2, 3))
_EPSILON = 1e-12
_ROWS = 4096  # that are looked at together: 70 MB for 2048 features
_STATISTICS, _BATCH = 2048, 512  # images whose statistics a random network takes, and how many together


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier of features (N, D)."""

    weight: Tensor  # (D, K) float64
    bias: Tensor  # (K,)
    penalty: float  # that was chosen

    def predict(self, features: Tensor) -> Tensor:
        """The class of each row: (N, D) -> (N,) int64."""
        return (features.double() @ self.weight + self.bias).argmax(1)

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """The fraction of rows whose class is right."""
        return int((self.predict(features) == labels).sum()) / len(labels)


def ridge_probe(features: Tensor, labels: Tensor, n_classes: int) -> Probe:
    """Ridge regression of one-hot classes on standardised features, with an intercept that is not penalised.

    The penalty is the one of a fixed grid with the least squared leave-one-out error, which is known in closed form
    from one eigendecomposition: error_i = (y_i - prediction_i) / (1 - leverage_i). Only these rows are looked at.

    features: (N, D), any float type; computed in float64.  labels: (N,) int64.

    Raises:
        BadInput: for fewer than two rows, or another number of labels than rows.
    """
    if len(features) < 2 or len(features) != len(labels):
        raise BadInput(f"a probe needs at least two rows with a label each, got {len(features)} and {len(labels)}")
    values = features.double()
    mean, spread = values.mean(0), values.std(0, correction=0)
    spread = torch.where(spread > _EPSILON, spread, 1.0)  # a constant feature says nothing
    x = (values - mean) / spread
    targets = torch.nn.functional.one_hot(labels, n_classes).to(x)
    centre = targets.mean(0)
    directions, sizes = _principal(x)  # (N, R), (R,)
    projected = directions.T @ (targets - centre)  # (R, K)
    penalties = len(x) * torch.tensor(_PENALTIES, dtype=x.dtype, device=x.device)
    chosen = float(penalties[_left_out(directions, sizes, projected, targets - centre, penalties).argmin()])
    weight = x.T @ (directions @ (projected / (sizes + chosen)[:, None])) / spread[:, None]  # (D, K)
    return Probe(weight, centre - mean @ weight, chosen)


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


def _principal(x: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors (N, R) and squared singular values (R,), by the smaller of the two Gram matrices."""
    if x.shape[0] <= x.shape[1]:
        sizes, directions = torch.linalg.eigh(x @ x.T)
    else:
        sizes, right = torch.linalg.eigh(x.T @ x)
        directions = x @ right / sizes.clamp(min=_EPSILON).sqrt()
    kept = sizes > _EPSILON * sizes.max()
    return directions[:, kept], sizes[kept]


def _left_out(directions: Tensor, sizes: Tensor, projected: Tensor, centred: Tensor, penalties: Tensor) -> Tensor:
    """Mean squared leave-one-out error of each penalty, (P,); all of them in one sweep over the rows."""
    count, classes = centred.shape
    shrink = sizes[:, None] / (sizes[:, None] + penalties)  # (R, P)
    fits = (shrink[:, :, None] * projected[:, None, :]).flatten(1)  # (R, P*K)
    total = torch.zeros_like(penalties)
    for rows, wanted in zip(directions.split(_ROWS), centred.split(_ROWS), strict=True):
        residuals = wanted[:, None, :] - (rows @ fits).view(len(rows), -1, classes)  # (B, P, K)
        leverages = 1.0 / count + rows.square() @ shrink  # (B, P)
        total += (residuals / (1.0 - leverages).clamp(min=_EPSILON)[:, :, None]).square().sum((0, 2))
    return total / (count * classes)
