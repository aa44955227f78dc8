"""Facts about a network that decide how it can be trained."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


def parameter_count(module: nn.Module) -> int:
    """The number of trained numbers; buffers such as running statistics are not counted."""
    return sum(parameter.numel() for parameter in module.parameters())


def uses_batch_statistics(module: nn.Module) -> bool:
    """Whether an output depends on the other images of the batch in training mode, and on running statistics later."""
    return any(isinstance(layer, _BatchNorm) for layer in module.modules())


def has_dropout(module: nn.Module) -> bool:
    """Whether a forward pass in training mode draws from the global random numbers."""
    return any(isinstance(layer, _DropoutNd) and layer.p > 0 for layer in module.modules())
