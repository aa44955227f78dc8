"""Uses of a start on a target: fine-tuning all of it, or a linear probe of its features.

Departures from the published evaluation (KRR-ST's code): crops are padded with the mean colour of the target, since
images are normalised first (authors' code: with black); shares below 1 and the probe are this project's.
"""

from __future__ import annotations

import copy
import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from condense import files
from condense.data import Dataset
from condense.evaluate.transfer.protocol import Setting, TransferProtocol
from condense.evaluate.transfer.starts import engine_words, replace_classifier, stream
from condense.evaluate.transfer.targets import labelled_rows
from condense.features import embed
from condense.identity import digest
from condense.networks import Network
from condense.preprocessing import Preprocessing
from condense.probing import ridge_probe, take_statistics
from condense.tensor_format import checksum
from condense.training import Engine, Recipe, SplitSource, accuracy, choose, on_device, train

if TYPE_CHECKING:
    from condense.run import Run

CLOSED_FORM = "closed form, float64"


@dataclass(frozen=True)
class Outcome:
    """What one use reached on the whole test split of the target, with which engine, and in how long."""

    accuracy: float
    engine: str  # and the machine
    seconds: float  # of work, over all continuations


@dataclass(frozen=True, eq=False)
class Use:
    """One start of one seed on one target; every use of it leaves the start as it was.

    Before a "probe" every start alike takes the batch-norm statistics of unlabelled training images of the target: a
    fresh network has none of its own, and starts are to differ in their weights alone. An "untouched-probe" leaves each
    start those of its training, and a fresh network mean 0 and variance 1. Fine-tuning brings its own.
    """

    network: Network
    name: str  # of the network
    seed: int
    target: Dataset
    space: Preprocessing
    protocol: TransferProtocol
    run: Run  # where fine-tuning is checkpointed

    def outcome(self, setting: Setting) -> Outcome:
        """Trains with the setting's share of labels and tests once, after the last step.

        A fine-tuning that was killed goes on where it stood, with the same call.

        Raises:
            Diverged: when fine-tuning leaves the finite numbers.
        """
        rows = labelled_rows(self.target.train, setting.share, self.seed)
        if setting.kind == "fine-tune":
            return self._fine_tuned(rows, setting)
        return self._probed(rows, setting.kind)

    def forget(self) -> None:
        """Takes away what is kept of fine-tunings, once the caller has their outcomes."""
        files.discard(self._work)

    def _fine_tuned(self, rows: Tensor, setting: Setting) -> Outcome:
        assert self.protocol.fine_tune is not None
        target, device = self.target, next(self.network.parameters()).device
        recipe = self.protocol.fine_tune.recipe_for(len(rows), flips=target.flips)
        draws = functools.partial(stream("fine-tune", self.name, self.seed), f"{target.name} {setting.share:g}")
        network = copy.deepcopy(self.network)
        replace_classifier(network, target.train.n_classes, stream("head", self.name, self.seed)("weights"))
        source = on_device(SplitSource(target.train.subset(rows), self.space), device)
        engine = choose(recipe, network, len(rows), device, shape=target.shape, seeds=self.protocol.trainings)
        words = engine_words(engine, self.run)
        identity = self._identity(setting, recipe, words)
        with self.run.within(self._work / digest(identity)[:16], seed=0, request=identity) as run:
            train(network, source, recipe, draws, engine=engine, run=run)
            test = on_device(SplitSource(target.test, self.space), device)
            # Compiling a test pays only where the training was compiled for the same shapes anyway; one test does not.
            right = accuracy(network, test, engine=Engine(precision=engine.precision))
            return Outcome(right, words, run.elapsed)

    def _probed(self, rows: Tensor, kind: str) -> Outcome:
        begin = time.perf_counter()  # the first share of labels bears the time for the features
        train_features, test_features = self._features if kind == "probe" else self._untouched_features
        labels = self.target.train.labels[rows]
        probe = ridge_probe(train_features[rows], labels, self.target.train.n_classes)
        right = probe.accuracy(test_features, self.target.test.labels)
        return Outcome(right, engine_words(CLOSED_FORM, self.run), time.perf_counter() - begin)

    @property
    def _work(self) -> Path:
        return self.run.directory / "fine-tunings"

    def _identity(self, setting: Setting, recipe: Recipe, engine: str) -> dict[str, Any]:
        """All that the numbers of a fine-tuning depend on: what another engine or start began is not continued."""
        return {
            "start": checksum(self.network.state_dict()),
            "space": self.space.digest,
            "target": self.target.fingerprint,
            "setting": str(setting),
            "recipe": recipe.spec(),
            "network": self.name,
            "seed": self.seed,
            "engine": engine,
        }

    @functools.cached_property
    def _features(self) -> tuple[Tensor, Tensor]:
        """Of every training and test image at the target's statistics, (N, D) and (M, D)."""
        network = copy.deepcopy(self.network)
        take_statistics(network, self.target.train, self.space)
        return self._embedded(network)

    @functools.cached_property
    def _untouched_features(self) -> tuple[Tensor, Tensor]:
        return self._embedded(copy.deepcopy(self.network).eval())

    @torch.no_grad()
    def _embedded(self, network: Network) -> tuple[Tensor, Tensor]:
        if next(network.parameters()).device.type == "cpu":
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in PyTorch's stubs
        return embed(network, self.target.train, self.space), embed(network, self.target.test, self.space)
