"""Facts about a network that decide how it can be trained."""

from __future__ import annotations

import torch
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


def operations(module: nn.Module, shape: tuple[int, int, int]) -> float:
    """Arithmetic operations of a forward pass of one image (C, H, W): convolutions and products, 2 a multiply-add."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        _trace(module, shape)
    return float(counter.get_total_flops())


def activation_bytes(module: nn.Module, shape: tuple[int, int, int]) -> float:
    """Bytes of all layer outputs of one float32 image (C, H, W): what a backward pass has to keep, about."""
    sizes: list[int] = []
    leaves = [layer for layer in module.modules() if next(layer.children(), None) is None]
    handles = [
        layer.register_forward_hook(lambda _layer, _inputs, output: sizes.append(output.numel())) for layer in leaves
    ]
    try:
        _trace(module, shape)
    finally:
        for handle in handles:
            handle.remove()
    return 4.0 * sum(sizes)


def _trace(module: nn.Module, shape: tuple[int, int, int]) -> None:
    training = module.training
    device = next(module.parameters()).device
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, *shape, device=device))
    finally:
        module.train(training)
