"""Which engine trains a network: decided from measured constants, never by timing at run time."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace

import torch
from torch import nn

from condense.errors import BadInput
from condense.networks.inspection import operations
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
    """What compiling a family of networks was measured to save and to cost."""

    saved_seconds: float  # for each 1e9 operations
    compile_seconds: float  # of one graph for training


# benchmarks/judge.py --networks <family> --sides eager compiled --threads 1 on an AMD EPYC with AVX-512, 100 images of
# 3 x 32 x 32, float32; the record is results/benchmarks/engines.json. Of ConvNet-D3 the smaller gain of widths 32 and
# 128. Families that are not listed were not measured, or gained nothing.
GAINS = {
    "ConvNet": Gain(saved_seconds=0.0012, compile_seconds=20.0),
}
# The graph that tests has no backward part: it took about half as long to compile as one for training.
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
    # A training step costs three forward passes: forward, gradient of the inputs, gradient of the weights.
    gflop = 3e-9 * operations(network, shape) * n_samples * recipe.epochs * seeds
    compiling = gain.compile_seconds * (len(recipe.batch_sizes(n_samples)) + _TESTING)
    return replace(plain, compile=True, channels_last=True) if gflop * gain.saved_seconds > compiling else plain


def _compiler() -> bool:
    return shutil.which(os.environ.get("CXX", "g++")) is not None
