"""A network as a pure function of one vector of parameters, as trajectories store and match them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from condense.errors import BadInput
from condense.networks import has_dropout, uses_batch_statistics

T = TypeVar("T")


class FlatNetwork:
    """The architecture of `module` without its weights: they are given to each call as one vector (P,).

    Raises:
        BadInput: for a network whose output is not a function of parameters and image alone: batch statistics are
            state that a vector of parameters does not hold, and dropout draws anew in every pass.
    """

    def __init__(self, module: nn.Module):
        if uses_batch_statistics(module):
            raise BadInput(
                "a network with batch norm is not a function of its parameters alone (running statistics belong to "
                "it); choose another norm, such as norm=instance"
            )
        if has_dropout(module):
            raise BadInput("a network with dropout draws anew in every pass; choose one without dropout")
        self._skeleton = copy.deepcopy(module).to("meta")
        self._buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
        self._shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
        self._sizes = [shape.numel() for shape in self._shapes.values()]
        self._derived: dict[Hashable, Any] = {}

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return sum(self._sizes)

    @property
    def skeleton(self) -> nn.Module:
        """The architecture, with parameters that have shapes and no values."""
        return self._skeleton

    @property
    def shapes(self) -> Mapping[str, torch.Size]:
        """Name and shape of every parameter, in the order in which they lie in the vector."""
        return dict(self._shapes)

    def derived(self, key: Hashable, build: Callable[[], T]) -> T:
        """What `build()` makes of this architecture: made at the first call with a key, kept as long as the network."""
        if key not in self._derived:
            self._derived[key] = build()
        found: T = self._derived[key]
        return found

    def flatten(self, source: nn.Module | Mapping[str, Tensor]) -> Tensor:
        """The parameters of a module, or a mapping of all of them by name, as a new vector (P,).

        Raises:
            BadInput: when names or shapes are not those of this architecture.
        """
        named = dict(source.named_parameters()) if isinstance(source, nn.Module) else source
        found = {name: value.shape for name, value in named.items()}
        if found != self._shapes:
            odd = sorted(name for name in {*found, *self._shapes} if found.get(name) != self._shapes.get(name))
            raise BadInput(f"these parameters are of another architecture: {', '.join(odd[:3])} differ from it")
        return torch.cat([named[name].detach().reshape(-1) for name in self._shapes])

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """The parameters by name, as views of the vector (P,), through which gradients pass."""
        if flat.shape != (self.size,):
            raise BadInput(f"expected a vector of {self.size} parameters, got shape {tuple(flat.shape)}")
        parts = flat.split(self._sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    @torch.no_grad()
    def load(self, module: nn.Module, flat: Tensor) -> None:
        """Copies the vector (P,) into the parameters of a module of this architecture."""
        values = self.unflatten(flat)
        for name, parameter in module.named_parameters():
            parameter.copy_(values[name])

    def module(self, flat: Tensor) -> nn.Module:
        """A new module with the parameters of the vector (P,), on its device and in its dtype."""
        built = copy.deepcopy(self._skeleton).to_empty(device=flat.device).to(flat.dtype)
        self.load(built, flat)
        for name, buffer in built.named_buffers():
            buffer.copy_(self._buffers[name])
        return built

    def call(self, flat: Tensor, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W), differentiable in both arguments to any order."""
        logits: Tensor = functional_call(self._skeleton, {**self.unflatten(flat), **self._buffers}, (images,))
        return logits
