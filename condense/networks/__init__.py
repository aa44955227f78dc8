"""Classifiers sized to the image, by name: `build("convnet-d3:width=32", (3, 32, 32), 10, generator)`.

Every built-in network has `embed(images) -> (N, D)` and a linear `classifier`; its weights come from the generator
given and from nothing else.
"""

from __future__ import annotations

from condense.networks.convnet import Activations, ConvNet
from condense.networks.initialise import initialise
from condense.networks.inspection import (
    activation_bytes,
    has_dropout,
    operations,
    parameter_count,
    uses_batch_statistics,
)
from condense.networks.layers import Network
from condense.networks.registry import Description, build, canonical, describe, names
from condense.networks.work import Work, work

__all__ = [
    "Activations",
    "ConvNet",
    "Description",
    "Network",
    "Work",
    "activation_bytes",
    "build",
    "canonical",
    "describe",
    "has_dropout",
    "initialise",
    "names",
    "operations",
    "parameter_count",
    "uses_batch_statistics",
    "work",
]
