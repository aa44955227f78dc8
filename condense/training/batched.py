"""All seeds of an architecture as one computation: parameters stacked along a first dimension S, and vmap."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from condense.errors import BadInput
from condense.networks import has_dropout
from condense.training.batches import Batch
from condense.training.engines import Engine
from condense.training.losses import loss_value
from condense.training.recipe import Loss


class BatchedStep:
    """Computes the gradients of one batch for each of S networks of one architecture.

    Raises:
        BadInput: for networks with dropout, whose draws could not be those of one network at a time, and for labels
            that dictate groups of batch statistics.
    """

    def __init__(self, seeds: Sequence[nn.Module], loss: Loss, engine: Engine):
        if has_dropout(seeds[0]):
            raise BadInput("a network with dropout is trained one seed at a time; use the engine 'sequential'")
        self._seeds = seeds
        self._loss = loss
        self._half = engine.precision == "bfloat16"
        self._skeleton = copy.deepcopy(seeds[0]).to("meta")
        self._frozen = {
            name: _stack(seeds, name) for name, value in seeds[0].named_parameters() if not value.requires_grad
        }
        self.parameters = {
            name: _stack(seeds, name).requires_grad_()
            for name, value in seeds[0].named_parameters()
            if value.requires_grad
        }  # each (S, ...)
        self.buffers = {name: _stack(seeds, name) for name, _ in seeds[0].named_buffers()}  # each (S, ...)

    def __call__(self, batches: Sequence[Batch]) -> Tensor:
        """Leaves the gradients in `parameters` and returns the detached losses (S,)."""
        if any(batch.norm_group is not None for batch in batches):
            raise BadInput("labels with batch-norm groups are trained on one seed at a time; use 'sequential'")
        images = torch.stack([batch.images for batch in batches])  # (S, N, C, H, W)
        targets = torch.stack([batch.target for batch in batches])
        fixed = {**self._frozen, **self.buffers}
        losses: Tensor = vmap(self._objective)(self.parameters, fixed, images, targets)
        # The seeds do not interact, so the gradient of the sum holds each seed's own.
        losses.sum().backward()
        return losses.detach()

    def write_back(self) -> None:
        """Copies parameters and buffers into the networks."""
        with torch.no_grad():
            for index, network in enumerate(self._seeds):
                stacked = {**self.parameters, **self._frozen, **self.buffers}
                for name, value in (*network.named_parameters(), *network.named_buffers()):
                    value.copy_(stacked[name][index])

    def _objective(
        self, parameters: dict[str, Tensor], fixed: dict[str, Tensor], images: Tensor, target: Tensor
    ) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._half):
            outputs = functional_call(self._skeleton, {**parameters, **fixed}, (images,))
        return loss_value(outputs, target, self._loss)


def _stack(seeds: Sequence[nn.Module], name: str) -> Tensor:
    def find(network: nn.Module) -> Tensor:
        owner, _, leaf = name.rpartition(".")
        value: Tensor = getattr(network.get_submodule(owner), leaf)
        return value.detach()

    return torch.stack([find(network) for network in seeds])
