"""Random draws of the judge: from network, seed and purpose, so that they are the same for every set."""

from __future__ import annotations

import hashlib

import torch

from condense.identity import canonical
from condense.training import Rng


def stream(network: str, seed: int) -> Rng:
    """rng(name, *ids) of one network and seed.

    Two sets judged with the same seed start from the same weights, which is what makes their difference a paired one.
    """

    def rng(name: str, *ids: int) -> torch.Generator:
        content = hashlib.sha256(canonical(["judge", network, seed, name, *ids])).digest()
        return torch.Generator().manual_seed(int.from_bytes(content[:8], "big") >> 1)

    return rng
