"""Protocols: versioned, hashed data files that say how a set is judged. A published version never changes.

    names() -> ["hard-dsa", ...]        load("hard-dsa") -> the newest version        load("hard-dsa-1")

A protocol knows data sets by the size of their images and by whether a mirror image keeps its class, and sets by how
many images they hold and what they offer. It knows no method.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from condense import files
from condense.errors import BadInput, DamagedFile, UnknownName
from condense.evaluate.parts import ProtocolRef
from condense.identity import digest

if TYPE_CHECKING:
    from condense.training import Recipe

FOLDER = Path(__file__).resolve().parent / "protocols"
Kind = TypeVar("Kind", bound=BaseModel)


class Part(BaseModel):
    """A piece of a protocol file: unknown fields are refused, and nothing changes once it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PanelEntry(Part):
    """One network of the panel, for images whose smaller side lies in [min_side, max_side)."""

    network: str
    recipe: dict[str, Any] = {}  # fields that differ from the protocol's recipe
    min_side: int = 1
    max_side: int | None = None

    def fits(self, shape: tuple[int, int, int]) -> bool:
        """Whether the entry is meant for images (C, H, W)."""
        side = min(shape[1:])
        return self.min_side <= side and (self.max_side is None or side < self.max_side)


class SizeEntry(Part):
    """Fields of the recipe that differ for sets of [min_samples, max_samples) images; later entries win."""

    recipe: dict[str, Any]
    networks: tuple[str, ...] | None = None  # that it is for; None: all
    min_samples: int = 1
    max_samples: int | None = None

    def fits(self, network: str, samples: int) -> bool:
        """Whether the entry is meant for a network on a set of so many images."""
        large_enough = self.min_samples <= samples and (self.max_samples is None or samples < self.max_samples)
        return large_enough and (self.networks is None or network in self.networks)


class LearnedRate(Part):
    """A learning rate that a set may bring along, for the networks it was learned for."""

    from_set_else: float = Field(gt=0)
    networks: tuple[str, ...]


class Needs(Part):
    """What a set must offer.

    labels: hard (soft labels are hardened: the class of the largest value), soft, replay, teacher (the set's own), or
        none (the protocol's teacher labels the images).
    lr: fixed (the recipe's), or from the set.
    views: protocol (the recipe's augmentation), or set (crops, flips and mixes come with the labels).
    """

    labels: Literal["hard", "soft", "replay", "teacher", "none"]
    lr: Literal["fixed"] | LearnedRate = "fixed"
    views: Literal["protocol", "set"] = "protocol"


class Teacher(Part):
    """The protocol's own teacher: trained on the training split, once per data set, for every set alike.

    It answers for every view that a student sees, after augmentation and mixing.
    """

    network: str
    recipe: dict[str, Any]
    temperature: float = Field(gt=0)  # of its answers; the students' loss has the same


class Published(Part):
    """What every kind of protocol says of itself, and the networks it is for."""

    schema_version: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    version: int = Field(ge=1)
    title: str
    track: str  # rows of two tracks never meet in one ranking
    tier: str  # "full", or what the numbers may be compared with
    seeds: int = Field(ge=1)  # networks per architecture unless the caller asks for another number
    panel: tuple[PanelEntry, ...]
    notes: tuple[str, ...]

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of what the file says, whatever its spacing and order, and whether defaults are written out."""
        return digest(self.model_dump(mode="json", by_alias=True, exclude_defaults=True))

    def reference(self) -> ProtocolRef:
        """How records name this protocol."""
        names = ("name", "version", "digest", "track", "tier")
        return ProtocolRef(**{name: getattr(self, name) for name in names})

    def networks(self, shape: tuple[int, int, int]) -> list[str]:
        """The panel's networks for images of this shape (C, H, W), in the order of the file."""
        return [entry.network for entry in self.panel if entry.fits(shape)]


class Protocol(Published):
    """How sets are judged; see the module's docstring."""

    track: Literal["common-hard", "common-soft", "own"]
    recipe: dict[str, Any]  # condense.training.Recipe
    max_updates: int = Field(ge=1)  # optimiser steps; larger sets make fewer epochs, the schedule shrinks along
    sizes: tuple[SizeEntry, ...] = ()
    needs: Needs
    teacher: Teacher | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        if (self.teacher is not None) != (self.needs.labels == "none"):
            raise ValueError("a protocol has a teacher of its own exactly when it needs no labels of the set")
        return self

    def recipe_for(self, network: str, samples: int, *, flips: bool, step_size: float | None = None) -> Recipe:
        """The recipe of one network for a set of `samples` images.

        Args:
            flips: whether a mirror image keeps its class; if not, flips leave the augmentation.
            step_size: the learning rate that the set brings along, used only where `needs.lr` says so.

        Raises:
            BadInput: when the file's recipe is not a valid one.
        """
        fields = dict(self.recipe)
        for entry in self.panel:
            if entry.network == network:
                fields |= entry.recipe
        for size in self.sizes:
            if size.fits(network, samples):
                fields |= size.recipe
        if isinstance(self.needs.lr, LearnedRate) and network in self.needs.lr.networks:
            fields["lr"] = self.needs.lr.from_set_else if step_size is None else step_size
        return fitted(fields, samples, self.max_updates, flips)

    def teacher_recipe(self, samples: int, *, flips: bool) -> Recipe:
        """The recipe of the protocol's teacher on a training split of `samples` images."""
        if self.teacher is None:
            raise BadInput(f"protocol {self.name} has no teacher of its own")
        return fitted(self.teacher.recipe, samples, None, flips)


def names() -> list[str]:
    """The protocols that ship with the package, by name; `load(name)` gives the newest version of each."""
    return names_in(FOLDER)


def load(name: str | Path) -> Protocol:
    """A shipped protocol by name ("hard-dsa"), by name and version ("hard-dsa-1"), or any protocol file by its path.

    Raises:
        UnknownName: with the nearest names.
        DamagedFile: when a file is not a protocol; the message names the first field at fault.
    """
    return read(find(name, FOLDER), Protocol)


def names_in(folder: Path) -> list[str]:
    """The names of the protocol files in a folder, without their versions."""
    return sorted({name for name, _ in _shipped(folder)})


def find(name: str | Path, folder: Path) -> Path:
    """The file of a protocol: a path to one, a name (the newest version), or a name with its version.

    Raises:
        UnknownName: with the nearest names in the folder.
        BadInput: for a path where no file is.
    """
    shipped = _shipped(folder)
    if str(name).endswith(".json"):
        if not Path(name).is_file():
            known = ", ".join(names_in(folder))
            raise BadInput(f"{name} does not exist; a protocol is one of {known}, or a path to such a file")
        return Path(name)
    versions = {version: path for (known, version), path in shipped.items() if known == name}
    if versions:
        return versions[max(versions)]
    match = re.fullmatch(r"(.+)-(\d+)", str(name))
    if match and (match[1], int(match[2])) in shipped:
        return shipped[match[1], int(match[2])]
    raise UnknownName("protocol", str(name), {known for known, _ in shipped})


def read(path: Path, kind: type[Kind]) -> Kind:
    """A protocol file of a kind, checked.

    Raises:
        DamagedFile: when it is not one; the message names the first field at fault.
    """
    try:
        return kind.model_validate(files.read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise DamagedFile(path, f"{'.'.join(map(str, first['loc'])) or 'protocol'}: {first['msg']}") from error


def _shipped(folder: Path) -> dict[tuple[str, int], Path]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        name, _, version = path.stem.rpartition("-")
        found[name, int(version)] = path
    return found


def fitted(fields: Mapping[str, Any], samples: int, max_updates: int | None, flips: bool) -> Recipe:
    """The recipe, without flips where they change the class, shortened to `max_updates` optimiser steps.

    Raises:
        BadInput: when the fields are not a valid recipe.
    """
    from condense.training import Recipe

    recipe = Recipe.from_spec(fields)
    if recipe.augment is not None and not flips:
        from condense import augment

        recipe = recipe.replace(augment=augment.from_spec(recipe.augment).without_flip().spec())
    if max_updates is None:
        return recipe
    epochs = max(3, max_updates // recipe.steps_per_epoch(samples))
    return recipe if epochs >= recipe.epochs else _shortened(recipe, epochs)


def _shortened(recipe: Recipe, epochs: int) -> Recipe:
    """Fewer epochs, with the drop and the warm-up at the same fraction of the training."""
    share = epochs / recipe.epochs
    schedule = dataclasses.replace(recipe.schedule, warmup=round(recipe.schedule.warmup * share))
    if schedule.after is not None:
        schedule = dataclasses.replace(schedule, after=min(round(schedule.after * share), epochs - 2))
    return recipe.replace(epochs=epochs, schedule=schedule)
