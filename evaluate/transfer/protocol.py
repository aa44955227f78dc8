"""Transfer protocols: versioned, hashed data files that say how a start is made and how it is used on other data.

    names() -> ["transfer", ...]        load("transfer-quick") -> the newest version        load("transfer-quick-1")

A start is a network before it meets the target: fresh, trained on a set, or trained self-supervised on all images of
the source. It is used by fine-tuning all of it, or by a linear probe of its features, on shares of the target's labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from condense.errors import BadInput
from condense.evaluate.protocol import Part, Published, find, fitted, names_in, read

if TYPE_CHECKING:
    from condense.self_supervised import BarlowTwins
    from condense.training import Recipe

_STARTS = 5  # of a usual table: two references, two baselines, a method
FOLDER = Path(__file__).resolve().parent / "protocols"
Kind = Literal["fine-tune", "probe", "untouched-probe"]


class Stage(Part):
    """One training: a recipe, and the optimiser steps that it makes at most."""

    recipe: dict[str, Any]  # condense.training.Recipe
    max_updates: int = Field(ge=1)  # more images make fewer epochs, at least three; the schedule shrinks along

    def recipe_for(self, samples: int, *, flips: bool) -> Recipe:
        """The recipe for so many images, without mirror images where they change what an image shows."""
        return fitted(self.recipe, samples, self.max_updates, flips)


class FineTuning(Part):
    """The training on the target: a recipe, and the optimiser steps that it should make."""

    recipe: dict[str, Any]  # condense.training.Recipe but for the epochs
    updates: int = Field(ge=1)
    whole_passes: bool = True  # end with the pass that comes nearest to them, not after the last one of them

    def recipe_for(self, samples: int, *, flips: bool) -> Recipe:
        """As many passes over so many images as make `updates`, or the whole passes that come nearest, at least one."""
        one_pass = fitted({**self.recipe, "epochs": 1}, samples, None, flips)
        passes = self.updates / one_pass.steps_per_epoch(samples)
        if self.whole_passes:
            return one_pass.replace(epochs=max(1, round(passes)))
        return one_pass.replace(epochs=math.ceil(passes), updates=self.updates)


class Pretraining(Part):
    """How a network is trained on a set, by the richest targets that the set offers."""

    representation: Stage  # regression of the target vectors
    soft: Stage
    hard: Stage


@dataclass(frozen=True)
class Setting:
    """One use of a start: how, and with which share of the target's labels."""

    kind: Kind
    share: float  # of each class's training images, in (0, 1]

    def __str__(self) -> str:
        return f"{self.kind}@{self.share:g}"


class TransferProtocol(Published):
    """How starts are judged; see the module's docstring."""

    name: str = Field(pattern=r"^transfer(-[a-z0-9]+)*$")
    track: Literal["transfer"]
    pretrain: Pretraining
    self_supervised: dict[str, Any]  # condense.self_supervised.BarlowTwins but for the network: the full-set reference
    fine_tune: FineTuning | None = None
    probe: bool = False  # whether a closed-form linear probe is a use, every start at batch statistics of the target
    untouched_probe: bool = False  # whether it is one with the batch statistics that each start brings, too
    shares: tuple[float, ...]

    @model_validator(mode="after")
    def _consistent(self) -> TransferProtocol:
        if not self.settings():
            raise ValueError("a transfer protocol fine-tunes, probes, or does both")
        if not self.shares or list(self.shares) != sorted(set(self.shares)) or self.shares[0] <= 0:
            raise ValueError(f"shares ascend in (0, 1] without repeats, found {list(self.shares)}")
        if self.shares[-1] > 1:
            raise ValueError(f"a share is a part of the labels and ends at 1, found {self.shares[-1]}")
        if any(entry.recipe for entry in self.panel):
            raise ValueError("every network of a transfer protocol has the same recipes")
        return self

    def settings(self) -> list[Setting]:
        """Every use with every share, in the order of the tables."""
        kinds: list[Kind] = ["fine-tune"] if self.fine_tune else []
        kinds += ["probe"] if self.probe else []
        kinds += ["untouched-probe"] if self.untouched_probe else []
        return [Setting(kind, share) for kind in kinds for share in self.shares]

    @property
    def trainings(self) -> int:
        """Trainings of one network on as many images that a usual table makes; they share what is compiled of it.

        A property of the protocol, not of what is left to do: a run that is continued trains with the same engine.
        """
        return self.seeds * _STARTS

    def self_supervision(self, network: str) -> BarlowTwins:
        """How the reference trains a network on all images of the source."""
        from condense.self_supervised import BarlowTwins, Views

        fields = dict(self.self_supervised)
        views = fields.pop("views", {})
        return BarlowTwins(network=network, views=Views(**views), **fields)


def names() -> list[str]:
    """The transfer protocols that ship with the package."""
    return names_in(FOLDER)


def is_shipped(name: str | Path) -> bool:
    """Whether `name`, with or without a version, is a shipped transfer protocol."""
    try:
        return find(name, FOLDER).parent == FOLDER
    except BadInput:
        return False


def load(name: str | Path) -> TransferProtocol:
    """A shipped transfer protocol by name, by name and version, or any file of one by its path.

    Raises:
        UnknownName: with the nearest names.
        BadInput: for a path where no file is.
        DamagedFile: when a file is not a transfer protocol; the message names the first field at fault.
    """
    return read(find(name, FOLDER), TransferProtocol)
