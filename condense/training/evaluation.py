"""Testing a network: its answers to a whole source, and the fraction that is right."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from condense.errors import BadInput
from condense.training.engines import Engine
from condense.training.sequential import compiled, forward
from condense.training.sources import Source

# Images at once: enough to keep the cores busy, and a float32 map of 128 x 32 x 32 stays at 128 MiB.
_BATCH = 256


def predict(network: nn.Module, source: Source, *, batch: int = _BATCH, engine: Engine | None = None) -> Tensor:
    """Logits (N, K) of every image of a source, in its order, on the network's device.

    The network is in evaluation mode meanwhile and returns to the mode it was in.
    """
    return torch.cat(list(_answers(network, source, batch, engine)))


def accuracy(network: nn.Module, source: Source, *, batch: int = _BATCH, engine: Engine | None = None) -> float:
    """The fraction of a source's images whose largest logit is at their class: an exact count over N.

    Raises:
        BadInput: for an empty source, or one without a class per image.
    """
    if len(source) == 0:
        raise BadInput("cannot measure accuracy on an empty set; give at least one image")
    device = next(network.parameters()).device
    classes = source.labels.hard().to(device).split(batch)
    right = torch.zeros((), dtype=torch.int64, device=device)
    for of_batch, logits in zip(classes, _answers(network, source, batch, engine), strict=True):
        right += (logits.argmax(1) == of_batch).sum()
    return int(right) / len(source)


def _answers(network: nn.Module, source: Source, batch: int, engine: Engine | None) -> Iterator[Tensor]:
    engine = engine or Engine()
    parameter = next(network.parameters())
    answer = compiled(forward) if engine.compile else forward
    memory = torch.channels_last if engine.channels_last else torch.contiguous_format
    was_training = network.training
    network.eval()
    try:
        for rows in torch.arange(len(source)).split(batch):
            images = source.gather(rows, parameter.device).to(parameter.dtype)
            if engine.compile and len(rows) < batch < len(source):
                # One shape of batch is one graph; in evaluation mode the answers do not depend on the filling.
                images = torch.cat([images, images[:1].expand(batch - len(rows), -1, -1, -1)])
            with torch.no_grad():
                logits = answer(network, images.contiguous(memory_format=memory), engine.precision == "bfloat16")
            yield logits[: len(rows)]
    finally:
        network.train(was_training)
