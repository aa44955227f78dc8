"""Facts about a network: what decides how it can be trained, and what a pass through it costs."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.flop_counter import FlopCounterMode

from condense.networks.layers import Shape

_DEPTH_DROPOUT = ("StochasticDepth", "DropPath")  # of torchvision and timm, which need not be installed


def parameter_count(module: nn.Module) -> int:
    """The number of trained numbers; buffers such as running statistics are not counted."""
    return sum(parameter.numel() for parameter in module.parameters())


def uses_batch_statistics(module: nn.Module) -> bool:
    """Whether an output depends on the other images of the batch in training mode, and on running statistics later."""
    return any(isinstance(layer, _BatchNorm) for layer in module.modules())


def has_dropout(module: nn.Module) -> bool:
    """Whether a forward pass in training mode draws from the global random numbers."""
    return any(
        (isinstance(layer, _DropoutNd) or type(layer).__name__ in _DEPTH_DROPOUT) and float(layer.p) > 0  # type: ignore[arg-type]
        for layer in module.modules()
    )


def operations(module: nn.Module, shape: Shape) -> int:
    """Floating-point operations of a forward pass over one image (C, H, W), a multiply-add counting as two.

    Convolutions and matrix products are counted; norms, activations and pooling are not.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        _without_data(module)(_images(shape))
    return counter.get_total_flops() // _BATCH


def activation_bytes(module: nn.Module, shape: Shape) -> int:
    """Bytes that a forward pass in training mode keeps for the backward pass, for each image (C, H, W), in float32."""
    kept: dict[int, Tensor] = {}  # one for each storage; holding the tensor keeps its address from being reused

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.detach()
        return tensor.detach()  # the tensor itself would hold the node that saves it: a cycle that nobody frees

    network = _without_data(module)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(_images(shape))
    for tensor in (*network.parameters(), *network.buffers()):
        kept.pop(tensor.untyped_storage()._cdata, None)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) // _BATCH


_BATCH = 2  # batch norm refuses to train on one image where the map is one pixel


def _without_data(module: nn.Module) -> nn.Module:
    """A copy in training mode whose passes compute shapes and nothing else."""
    return copy.deepcopy(module).to(device="meta", dtype=torch.float32).train()


def _images(shape: Shape) -> Tensor:
    return torch.empty(_BATCH, *shape, device="meta")
