"""One network at a time."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from condense.machine_code import machine_code
from condense.sending import send
from condense.training.batches import Batch
from condense.training.engines import Engine
from condense.training.losses import loss_value
from condense.training.recipe import Loss


def objective(network: nn.Module, images: Tensor, target: Tensor, loss: Loss, half: bool) -> Tensor:
    """Loss of one batch.  half: convolutions and products in bfloat16, their results and the loss in float32."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
        outputs = network(images)
    return loss_value(outputs, target, loss)


def forward(network: nn.Module, images: Tensor, half: bool) -> Tensor:
    """Logits (N, K) in at least float32."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
        outputs: Tensor = network(images)
    return outputs if outputs.dtype == torch.float64 else outputs.float()


@functools.cache
def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` as one graph for each structure of network and shape of batch.

    Networks are arguments and their weights are inputs of the graph, so all seeds of an architecture share it.
    """
    return machine_code(function)


class SequentialStep:
    """Computes the gradients of one batch, in the engine's way."""

    def __init__(self, network: nn.Module, loss: Loss, engine: Engine):
        self._network = network
        self._loss = loss
        self._half = engine.precision == "bfloat16"
        self._format = torch.channels_last if engine.channels_last else torch.contiguous_format
        self._objective = compiled(objective) if engine.compile else objective

    def __call__(self, batch: Batch) -> Tensor:
        """Leaves the gradient in the parameters and returns the detached loss."""
        images = batch.images.contiguous(memory_format=self._format)
        if batch.norm_group is None:
            value = self._objective(self._network, images, batch.target, self._loss, self._half)
        else:
            value = self._in_groups(images, batch.target, batch.norm_group)
        value.backward()
        return value.detach()

    def _in_groups(self, images: Tensor, target: Tensor, groups: Tensor) -> Tensor:
        # Each group passes the network by itself, so that batch statistics are taken within it.
        total = images.new_zeros(())
        for group in groups.unique():
            rows = send((groups == group).nonzero().flatten(), images.device)
            part = self._objective(self._network, images[rows], target[rows], self._loss, self._half)
            total = total + part * (len(rows) / len(images))
        return total


@contextlib.contextmanager
def private_randomness(device: torch.device) -> Iterator[None]:
    """Dropout draws from the global generators; they are put back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield


def seed_globally(seed: int, device: torch.device) -> None:
    """Seeds the global generators that a network on `device` can draw from.

    torch.manual_seed would also look for every other kind of device, at a third of a millisecond a call.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
