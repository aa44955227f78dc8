"""The loss of a batch, written so that a compiler can take it into the network's graph."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from condense.errors import BadInput
from condense.training.recipe import Loss


def loss_value(outputs: Tensor, target: Tensor, loss: Loss) -> Tensor:
    """Batch mean of the loss.  outputs: (N, K).  target: (N,) int64 classes, or (N, K) probabilities or values.

    Computed in float32 or float64, whatever the precision of the network's convolutions.
    """
    outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
    if loss.kind == "mse":
        return F.mse_loss(outputs, _vectors(target, outputs.shape[1]).to(outputs.dtype))
    scale = loss.temperature**2 if loss.square_factor else 1.0
    scaled = outputs / loss.temperature
    if loss.kind == "kl":
        expected = _vectors(target, outputs.shape[1]).to(outputs.dtype)
        return scale * F.kl_div(F.log_softmax(scaled, dim=1), expected, reduction="batchmean")
    if target.dtype.is_floating_point:
        target = target.to(outputs.dtype)
    return scale * F.cross_entropy(scaled, target)


def as_target(values: Tensor, form: str, loss: Loss) -> Tensor:
    """What `loss_value` takes, from labels of the form "hard", "probabilities", "logits" or "values".

    Logits become probabilities at the loss's temperature, except for a squared error, which compares them as they are.

    Raises:
        BadInput: when the loss cannot use labels of this form.
    """
    if form == "logits" and loss.kind != "mse":
        return torch.softmax(values / loss.temperature, dim=1)
    if form == "values" and loss.kind != "mse":
        raise BadInput(f"these labels are vectors, not classes: the recipe needs the loss 'mse', got {loss.kind!r}")
    return values


def _vectors(target: Tensor, classes: int) -> Tensor:
    """Classes (N,) as one-hot floats (N, K); what is a matrix already stays as it is."""
    return target if target.dtype.is_floating_point else F.one_hot(target, classes).float()
