"""Teachers: frozen networks whose embeddings are targets, trained without labels or brought along."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from condense import files, networks
from condense.data import Split
from condense.method import Cost
from condense.networks import Network
from condense.preprocessing import Preprocessing, normalise
from condense.run import Run
from condense.self_supervised import backbones
from condense.self_supervised.barlow_twins import BarlowTwins, pretrain, pretraining_cost
from condense.self_supervised.content import images_digest

TRAINED_HERE = "barlow-twins"
_VERSION = 1  # of the training: raised when a change gives other weights, so that no older teacher is found


@dataclass(frozen=True, eq=False)
class Teacher:
    """A network in evaluation mode whose weights do not change.

    Equal identities mean equal features, but for the last bits, which are those of the engine that filled the cache. So
    an identity is part of the key of everything that is cached of a teacher.
    """

    network: Network
    name: str  # of the network, as `networks.build` knows it
    space: Preprocessing  # of the images that it sees
    identity: Mapping[str, Any]
    precision: str = "float32"  # of convolutions and products: float32 | bfloat16

    def __post_init__(self) -> None:
        self.network.eval().requires_grad_(False)

    @property
    def dim(self) -> int:
        """D, the numbers of a feature vector."""
        return self.network.classifier.in_features

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Features (B, D) float32 of images (B, C, H, W) in `space`, on the device of the network."""
        parameter = next(self.network.parameters())
        with torch.autocast(parameter.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            features = self.network.embed(images.to(parameter.device))
        return features.float()

    def save(self, path: Path) -> str:
        """Writes weights and pixel space as safetensors; returns NETWORK@FILE, by which `teacher_for` finds them."""
        state = {name: part.cpu() for name, part in self.network.state_dict().items()}
        files.write_tensors(path, state, backbones.space_metadata(self.space))
        return f"{self.name}@{path.resolve()}"


class Settings(Protocol):
    """The fields of a method's Config that name its teacher; baselines of a transfer table copy them by name."""

    @property
    def teacher(self) -> str: ...

    @property
    def teacher_network(self) -> str: ...

    @property
    def teacher_epochs(self) -> int: ...

    @property
    def teacher_projector(self) -> int: ...

    @property
    def teacher_precision(self) -> str: ...


def teacher_for(train: Split, settings: Settings, run: Run) -> Teacher:
    """The teacher that a configuration names.

    settings.teacher: "barlow-twins" (trained on `train` by the other settings), "torchvision:resnet18@IMAGENET1K_V1",
        or "NETWORK@FILE" with a state dict of that network in FILE (.pt, .pth or .safetensors).

    Raises:
        UnknownName, BadInput, DamagedFile: as `trained` and `backbones.load`.
    """
    if settings.teacher == TRAINED_HERE:
        return trained(train, recipe_of(settings), run)
    found = backbones.load(settings.teacher, train)
    network = run.place(found.network)
    return Teacher(network, found.name, found.space, found.identity, settings.teacher_precision)


def teacher_cost(train: Split, settings: Settings) -> Cost:
    """The work of `teacher_for` and one pass over the split, as if nothing of it were in the cache."""
    trains_here = settings.teacher == TRAINED_HERE
    name = settings.teacher_network if trains_here else settings.teacher.partition("@")[0]
    forward = networks.operations(networks.build(name, train.shape, 1), train.shape)
    training = pretraining_cost(train, recipe_of(settings)) if trains_here else Cost(0.0, 0.0)
    return dataclasses.replace(training, operations=training.operations + forward * len(train))


def recipe_of(settings: Settings) -> BarlowTwins:
    """How the teacher of these settings is trained, when it is trained here."""
    return BarlowTwins(
        network=settings.teacher_network,
        epochs=settings.teacher_epochs,
        projector=settings.teacher_projector,
        precision=settings.teacher_precision,
    )


def trained(train: Split, recipe: BarlowTwins, run: Run) -> Teacher:
    """A network trained by Barlow Twins on `train`, or taken from the cache.

    It depends on the images, their mean and deviation, the recipe and nothing else: methods, seeds and budgets share
    it, and so do engines, whose first one decides its last bits. Labels are not used, not even in the name of the
    cached value.
    """
    recipe = recipe.for_split(train)
    space = normalise(train.mean, train.std)
    key = {
        "kind": "self-supervised teacher",
        "images": images_digest(train),
        "space": space.digest,
        "how": recipe.spec(),
    }
    state = run.cached(key, lambda sub: pretrain(train, space, recipe, sub).state_dict(), _VERSION)
    # What is cached of a teacher is of these weights; the first version is the one that needs no name.
    identity = key if _VERSION == 1 else {**key, "version": _VERSION}
    network = networks.build(recipe.network, train.shape, 1)
    network.load_state_dict(state)
    return Teacher(run.place(network), networks.canonical(recipe.network), space, identity, recipe.precision)
