"""Whether to build machine code for an unrolled training: decided from measured constants, never by timing."""

from __future__ import annotations

import os
import shutil

import torch

from condense.flat import FlatNetwork
from condense.networks import activation_bytes
from condense.networks.convnet import ConvNet
from condense.networks.layers import Shape
from condense.unroll.engines import Engine

# benchmarks/unroll.py, adjoint against adjoint compiled, ConvNet-D3 of width 128, 100 images of 3 x 32 x 32 in float32,
# one thread of an AMD EPYC with AVX-512: an inner step of both sweeps takes 1.6 s and 0.86 s for maps of 0.156e9 bytes.
_SAVED_SECONDS = 4.8  # for each 1e9 bytes of maps
_COMPILE_SECONDS = 80.0


def choose(
    network: FlatNetwork,
    shape: Shape,
    passes: int,
    *,
    device: torch.device | str = "cpu",
    bfloat16: bool = False,
    graph_bytes: int = 0,
) -> Engine:
    """The exact engine that was measured to be the fastest for this much work.

    The adjoint, compiled where its machine code saves more time than it takes to build: on a CPU with a C++ compiler,
    for a ConvNet. Elsewhere uncompiled, with as many graphs kept as `graph_bytes` holds.

    Args:
        shape: (C, H, W) of an image.
        passes: images that pass through inner steps in all: outer iterations * inner steps * images of a step.
    """
    possible = (
        torch.device(device).type == "cpu"
        and isinstance(network.skeleton, ConvNet)
        and shutil.which(os.environ.get("CXX", "g++")) is not None
    )
    saved = 1e-9 * activation_bytes(network.skeleton, shape) * passes * _SAVED_SECONDS
    if possible and saved > _COMPILE_SECONDS:
        return Engine(bfloat16=bfloat16, compile=True)
    return Engine(bfloat16=bfloat16, graph_bytes=graph_bytes)
