"""Small recipes of experts, and what tests ask of a pool of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from condense.experts import AST, FTD, MTT, Experts
from condense.progress import NoProgress

TINY: dict[str, Any] = {"network": "convnet:width=4", "batch": 8}
RECIPES = {
    "mtt": dataclasses.replace(MTT, **TINY, lr=0.1),
    "ftd": dataclasses.replace(FTD, **TINY, lr=0.1),
    "ast": dataclasses.replace(AST, **TINY, lr=0.05, drop=(1, 0.5), loss_ramp=(3, 0.5)),
}


def everything(pool: Experts) -> list[Tensor]:
    return [pool.at(expert, epoch) for expert in range(len(pool)) for epoch in range(pool.epochs + 1)]


def content(pool: Experts) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(pool.folder.glob("*.trajectory"))}


def same(first: Experts, second: Experts) -> bool:
    pairs = zip(everything(first), everything(second), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


class Steps(NoProgress):
    """Counts the epochs that are trained, and can stand for a kill between two of them."""

    def __init__(self, die_after: int | None = None):
        self.trained = 0
        self.said: list[str] = []
        self._die_after = die_after

    def say(self, line: str) -> None:
        self.said.append(line)

    def advance(self, done: int, values: object = None) -> None:
        self.trained += 1
        if self.trained == self._die_after:
            raise KeyboardInterrupt
