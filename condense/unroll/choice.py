"""Whether to build machine code for an unrolled training: decided from measured constants, never by timing."""

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

import torch

from condense.flat import FlatNetwork
from condense.networks import activation_bytes
from condense.networks.layers import Shape
from condense.unroll import lowered
from condense.unroll.engines import WITH_STEPS, Engine

# benchmarks/unroll.py, adjoint against adjoint compiled, ConvNet-D3 of width 128, 100 images of 3 x 32 x 32 in float32,
# one thread of an AMD EPYC with AVX-512: an inner step of both sweeps takes 1.7 s and 0.8 s for maps of 0.156e9 bytes.
_SAVED_SECONDS = 5.8  # for each 1e9 bytes of maps
_COMPILE_SECONDS = 85.0


class Choice(NamedTuple):
    """An engine, and why no machine code is built for it although that was allowed; None where it is."""

    engine: Engine
    uncompiled: str | None


def choose(
    network: FlatNetwork,
    shape: Shape,
    passes: int,
    *,
    name: str = "adjoint",
    device: torch.device | str = "cpu",
    bfloat16: bool = False,
    graph_bytes: int = 0,
    may_compile: bool = True,
) -> Choice:
    """The form of an engine that was measured to be the fastest for this much work.

    Compiled where that is allowed, possible, and saves more time than it takes; elsewhere uncompiled, with as many
    graphs kept as `graph_bytes` holds if the engine can keep some.

    Args:
        shape: (C, H, W) of an image.
        passes: images that pass through inner steps in all: outer iterations * inner steps * images of a step.

    Raises:
        UnknownName: for an engine that does not exist.
    """
    reason = _against_compiling(network, shape, passes, name, torch.device(device)) if may_compile else None
    if may_compile and reason is None:
        return Choice(Engine(name, bfloat16, compile=True), None)
    return Choice(Engine(name, bfloat16, graph_bytes=graph_bytes if name in WITH_STEPS else 0), reason)


def _against_compiling(network: FlatNetwork, shape: Shape, passes: int, name: str, device: torch.device) -> str | None:
    if name not in WITH_STEPS:
        return f"the engine {name!r} keeps graphs of autograd"
    reason = lowered.obstacle(network)
    if reason is not None:
        return reason
    if device.type != "cpu":
        return f"it was measured to pay on a CPU alone, and this is {device}"
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler {compiler!r}"
    saved = 1e-9 * activation_bytes(network.skeleton, shape) * passes * _SAVED_SECONDS
    if saved <= _COMPILE_SECONDS:
        return f"it takes about {_COMPILE_SECONDS:.0f} s and would save about {saved:.0f} s"
    return None
