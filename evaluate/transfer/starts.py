"""Starts: what a network is before it meets the target.

Every start of a network and seed begins with the same weights below the classifier, so that two starts differ in what
they were trained on and in nothing else. What was trained is cached for the engine that did it: cells name one.

Departures from the published evaluation (KRR-ST's code), for the sets of KIP and FRePo; the protocol `transfer` trains
    - 5000 passes over soft labels with a warm-up of 250, at most 10 000 updates of 500 images: as published from 501 to
      1000 images, half of it below (authors' code: 10 000 updates and a warm-up of 500 whatever the size of the set,
      40 000 for Tiny-ImageNet, 1000 for ImageNette).
    - by squared errors for every kind of soft labels, also probabilities and what a softmax makes of logits, since the
      judge does not know a set's method (published for KIP and FRePo alone).
    - by the mean of squared errors over images and classes (authors' code: half their sum over classes, which moves
      AdamW's steps only through its epsilon).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from condense import machine, networks
from condense.data import Split
from condense.distilled import HardLabels, Labels, TrainingView
from condense.evaluate.transfer.protocol import TransferProtocol
from condense.evaluate.version import TRANSFER
from condense.networks import Network
from condense.preprocessing import Preprocessing, normalise
from condense.run.randomness import generator
from condense.training import Engine, Rng, choose, on_device, train

if TYPE_CHECKING:
    from condense.run import Run

_CLASSIFIER = "classifier."
_KINDS = ("representation", "soft", "hard")  # richest first
_CHUNK = 4096


class Start(Protocol):
    """Gives a network what it knows before the target."""

    @property
    def space(self) -> Preprocessing | None:
        """The pixel space of its images; None when it has seen none."""

    def why_not(self) -> str | None:
        """Why there is no such start, in words for an n/a cell; None when there is one."""

    def body(self, name: str, shape: tuple[int, int, int], seed: int, run: Run) -> Network:
        """A network on the run's device; its classifier has no meaning. Raises Diverged."""


@dataclass(frozen=True)
class Scratch:
    """Fresh weights."""

    space: None = None

    def why_not(self) -> None:
        return None

    def body(self, name: str, shape: tuple[int, int, int], seed: int, run: Run) -> Network:
        return run.place(fresh(name, shape, seed))


@dataclass(frozen=True, eq=False)
class SelfSupervised:
    """Barlow Twins on all images of the source, by the protocol's recipe: what a set without labels stands for."""

    source: Split  # labels are not used
    protocol: TransferProtocol

    @property
    def space(self) -> Preprocessing:
        return normalise(self.source.mean, self.source.std)

    def why_not(self) -> None:
        return None

    def body(self, name: str, shape: tuple[int, int, int], seed: int, run: Run) -> Network:
        from condense.self_supervised import images_digest, pretrain

        recipe = self.protocol.self_supervision(name).for_split(self.source)
        key = {
            "kind": "transfer start, self-supervised",
            "judge": TRANSFER,
            "images": images_digest(self.source),
            "space": self.space.digest,
            "recipe": recipe.spec(),
            "seed": seed,
        }

        def build(sub: Run) -> Mapping[str, Tensor]:
            return pretrain(self.source.unlabelled(), self.space, recipe, sub, fresh(name, shape, seed)).state_dict()

        engine = Engine(compile=run.compiles, channels_last=run.compiles, precision=recipe.precision)
        return _restored(name, shape, run.cached(key, build, engine=engine_words(engine, run)), run)


@dataclass(frozen=True, eq=False)
class FromSet:
    """Trained on a set: its representations by regression, or its labels, the richest that it offers.

    It is given a training view and so knows neither the set's method nor its name.
    """

    view: TrainingView
    protocol: TransferProtocol
    flips: bool  # whether a mirror image of the source keeps its class

    @property
    def space(self) -> Preprocessing:
        return self.view.preprocessing

    def why_not(self) -> str | None:
        if self._kind is None:
            found = " and ".join(sorted(self.view.offers.labels)) or "no labels"
            return f"the protocol trains on representations, soft or hard labels; the set has {found}"
        return None

    def body(self, name: str, shape: tuple[int, int, int], seed: int, run: Run) -> Network:
        assert self._kind is not None
        recipe = getattr(self.protocol.pretrain, self._kind).recipe_for(len(self.view), flips=self.flips)
        network = run.place(fresh(name, shape, seed))
        replace_classifier(network, self._labels.n_classes, stream("pretrain", name, seed)("head"))
        engine = choose(recipe, network, len(self.view), run.device, shape=shape, seeds=self.protocol.trainings)
        key = {
            "kind": "transfer start",
            "judge": TRANSFER,
            "set": self._content,
            "network": networks.canonical(name),
            "recipe": recipe.spec(),
            "seed": seed,
        }

        def build(sub: Run) -> Mapping[str, Tensor]:
            source = on_device(dataclasses.replace(self.view, labels=self._labels), torch.device(sub.device))
            train(network, source, recipe, stream("pretrain", name, seed), engine=engine, run=sub)
            return network.state_dict()

        return _restored(name, shape, run.cached(key, build, engine=engine_words(engine, run)), run)

    @property
    def _labels(self) -> Labels:
        labels = self.view.labels
        return HardLabels(labels.hard(), self.view.n_classes) if self._kind == "hard" else labels

    @property
    def _kind(self) -> str | None:
        return next((kind for kind in _KINDS if kind in self.view.offers.labels), None)

    @functools.cached_property
    def _content(self) -> str:
        """SHA-256 of all that training on the set depends on."""
        content = hashlib.sha256(repr((len(self.view), self.view.preprocessing.digest, self._kind)).encode())
        for rows in torch.arange(len(self.view)).split(_CHUNK):
            content.update(self.view.gather(rows).cpu().numpy().tobytes())
        content.update(repr(sorted(self.view.labels.spec().items())).encode())
        parts = [("", self.view.labels.tensors()), *self.view.labels.files()]
        for tensor in (named[name] for _, named in parts for name in sorted(named)):
            content.update(tensor.cpu().contiguous().numpy().tobytes())
        return content.hexdigest()


def fresh(name: str, shape: tuple[int, int, int], seed: int) -> Network:
    """The network that every start of this name and seed begins with."""
    return networks.build(name, shape, 1, stream("init", name, seed)("weights"))


def replace_classifier(network: Network, classes: int, weights: torch.Generator) -> None:
    """Gives a network a new last layer of `classes` outputs."""
    device = network.classifier.weight.device
    layer = nn.Linear(network.classifier.in_features, classes)
    networks.initialise(layer, weights)
    network.classifier = layer.to(device)


def stream(purpose: str, network: str, seed: int) -> Rng:
    """rng(name, *ids) of one purpose, network and seed, the same for every start."""
    return functools.partial(generator, "transfer", purpose, networks.canonical(network), seed)


def engine_words(engine: Engine | str, run: Run) -> str:
    """How cells name what computed them."""
    return f"{engine}; {machine.engine_words(str(run.device))}"


def _restored(name: str, shape: tuple[int, int, int], state: Mapping[str, Tensor], run: Run) -> Network:
    network = networks.build(name, shape, 1)
    network.load_state_dict(
        {key: value for key, value in state.items() if not key.startswith(_CLASSIFIER)}, strict=False
    )
    return run.place(network)
