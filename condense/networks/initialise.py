"""Fresh weights from a generator, in place: the only source of randomness of every network here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from condense.errors import BadInput
from condense.sending import send

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)
_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d)


@runtime_checkable
class Initialises(Protocol):
    """A module that draws its own parameters and those of everything below it."""

    def draw_parameters(self, generator: torch.Generator) -> None: ...


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Gives `module` fresh weights, in place: the values that `build` gives for a generator in the same state.

    Linear and convolution layers are drawn as PyTorch draws them by default, U(-b, b) with b = 1 / sqrt(fan_in) for
    weights and biases; norm layers become the identity and their running statistics start anew. All uniform numbers
    come from one float32 draw on the CPU, so that they do not depend on device, dtype or memory format.

    Raises:
        BadInput: for a generator that is not on the CPU, or a layer with parameters whose distribution is not known.
    """
    if generator.device.type != "cpu":
        raise BadInput(f"weights are drawn on the CPU, got a generator on {generator.device}; use torch.Generator()")
    weights: list[tuple[Tensor, float]] = []  # with the bound of their distribution
    for layer in _layers(module):
        if isinstance(layer, Initialises):
            layer.draw_parameters(generator)
        elif isinstance(layer, _WEIGHTED):
            bound = 1.0 / math.sqrt(layer.weight[0].numel())
            weights += [(tensor, bound) for tensor in (layer.weight, layer.bias) if tensor is not None]
        elif isinstance(layer, _NORMS):
            layer.reset_parameters()
        elif next(layer.parameters(recurse=False), None) is not None:
            raise BadInput(
                f"no distribution is known for the parameters of {type(layer).__name__}; "
                "give it a method draw_parameters(generator)"
            )
    _draw_uniform(weights, generator)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """All modules in order of definition, without looking into those that draw for themselves."""
    yield module
    if not isinstance(module, Initialises):
        for child in module.children():
            yield from _layers(child)


def _draw_uniform(weights: list[tuple[Tensor, float]], generator: torch.Generator) -> None:
    if not weights:
        return
    sizes = [tensor.numel() for tensor, _ in weights]
    flat = torch.empty(sum(sizes), dtype=torch.float32, device="cpu").uniform_(-1.0, 1.0, generator=generator)
    flat = send(flat, weights[0][0].device)  # one transfer
    for (tensor, bound), values in zip(weights, flat.split(sizes), strict=True):
        tensor.copy_(values.mul_(bound).view(tensor.shape))
