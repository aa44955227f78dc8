"""Which engine trains a network: decided from measured constants, never by timing at run time."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace

import torch
from torch import nn

from condense.errors import BadInput
from condense.networks.inspection import activation_bytes
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


@dataclass(frozen=True)
class Gain:
    """What compiling a family of networks was measured to save and to cost.

    The convolutions run the same kernels either way; what a compiler saves are passes over the maps between them, so
    the saving goes with the bytes of these maps and not with the operations.
    """

    saved_seconds: float  # for each 1e9 bytes of maps that a forward pass keeps for the backward pass
    compile_seconds: float  # of one graph for training


# results/benchmarks/judge.json, sides eager and compiled, 100 images of 3 x 32 x 32 in float32, two threads of an AMD
# EPYC with AVX-512: ConvNet-D3 of width 128 keeps 0.156e9 bytes and saves 0.033 to 0.035 s a step (fastest and median
# steps), of width 32 0.040e9 bytes and 0.009 to 0.010 s: 0.21 to 0.26 s for 1e9 bytes. Both graphs compile in 20 s.
# Of other families nothing is recorded, so they are trained uncompiled; `benchmarks/judge.py --sides eager compiled
# --networks mlp lenet alexnet vgg11 resnet18 vit` measures those of the panel.
GAINS = {"ConvNet": Gain(saved_seconds=0.25, compile_seconds=15.0)}
# The graph that tests has no backward part, and is taken to compile in half the time of one for training.
_TESTING = 0.5


def choose(
    recipe: Recipe,
    network: nn.Module,
    n_samples: int,
    device: torch.device | str,
    *,
    shape: tuple[int, int, int],
    seeds: int = 1,
) -> Engine:
    """The engine that was measured to be the fastest for this much work.

    On a CPU: one network at a time (batching over seeds was measured to be slower where it matters), compiled where
    the time saved repays the compilation of every shape of batch, and where there is a C++ compiler. Elsewhere the
    same engine uncompiled: nothing was measured there, and it is the one whose results are easiest to check;
    `Engine("batched")` may be asked for.

    Args:
        n_samples: of the set, seen once an epoch.
        shape: (C, H, W) of an image.
        seeds: networks of this architecture that share the compiled graphs.
    """
    plain = Engine(precision=recipe.precision)
    gain = GAINS.get(type(network).__name__)
    if torch.device(device).type != "cpu" or gain is None or recipe.precision == "float64" or not _compiler():
        return plain
    maps = 1e-9 * activation_bytes(network, shape) * n_samples * recipe.epochs * seeds
    compiling = gain.compile_seconds * (len(recipe.batch_sizes(n_samples)) + _TESTING)
    return replace(plain, compile=True, channels_last=True) if maps * gain.saved_seconds > compiling else plain


def _compiler() -> bool:
    return shutil.which(os.environ.get("CXX", "g++")) is not None
