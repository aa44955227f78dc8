"""Uses of a start on a target: fine-tuning all of it, or a linear probe of its features.

Departures from the published evaluation (KRR-ST's code): crops are padded with the mean colour of the target, since
images are normalised first (authors' code: with black); shares below 1 and the probe are this project's.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from condense.data import Dataset
from condense.evaluate.transfer.protocol import Setting, TransferProtocol
from condense.evaluate.transfer.starts import replace_classifier, stream
from condense.evaluate.transfer.targets import labelled_rows
from condense.features import embed
from condense.networks import Network
from condense.preprocessing import Preprocessing
from condense.probing import ridge_probe, take_statistics
from condense.training import Engine, SplitSource, accuracy, choose, on_device, train

CLOSED_FORM = "closed form, float64"


@dataclass(frozen=True)
class Outcome:
    """What one use reached on the whole test split of the target, and with which engine."""

    accuracy: float
    engine: str


@dataclass(frozen=True, eq=False)
class Use:
    """One start of one seed on one target; every use of it leaves the start as it was.

    Before it is probed every start alike takes the batch-norm statistics of unlabelled training images of the target:
    a fresh network has none of its own, and starts are to differ in their weights alone. Fine-tuning brings its own.
    """

    network: Network
    name: str  # of the network
    seed: int
    target: Dataset
    space: Preprocessing
    protocol: TransferProtocol

    def outcome(self, setting: Setting) -> Outcome:
        """Trains with the setting's share of labels and tests once, after the last step.

        Raises:
            Diverged: when fine-tuning leaves the finite numbers.
        """
        rows = labelled_rows(self.target.train, setting.share, self.seed)
        return self._fine_tuned(rows, setting) if setting.kind == "fine-tune" else self._probed(rows)

    def _fine_tuned(self, rows: Tensor, setting: Setting) -> Outcome:
        assert self.protocol.fine_tune is not None
        target, device = self.target, next(self.network.parameters()).device
        recipe = self.protocol.fine_tune.recipe_for(len(rows), flips=target.flips)
        draws = functools.partial(stream("fine-tune", self.name, self.seed), f"{target.name} {setting.share:g}")
        network = copy.deepcopy(self.network)
        replace_classifier(network, target.train.n_classes, stream("head", self.name, self.seed)("weights"))
        source = on_device(SplitSource(target.train.subset(rows), self.space), device)
        engine = choose(recipe, network, len(rows), device, shape=target.shape, seeds=self.protocol.trainings)
        train(network, source, recipe, draws, engine=engine)
        test = on_device(SplitSource(target.test, self.space), device)
        # Compiling a test pays only where the training was compiled for the same shapes anyway; one test does not.
        return Outcome(accuracy(network, test, engine=Engine(precision=engine.precision)), str(engine))

    def _probed(self, rows: Tensor) -> Outcome:
        train_features, test_features = self._features
        labels = self.target.train.labels[rows]
        probe = ridge_probe(train_features[rows], labels, self.target.train.n_classes)
        return Outcome(probe.accuracy(test_features, self.target.test.labels), CLOSED_FORM)

    @functools.cached_property
    def _features(self) -> tuple[Tensor, Tensor]:
        """Of every training and test image, (N, D) and (M, D)."""
        network = copy.deepcopy(self.network)
        take_statistics(network, self.target.train, self.space)
        with torch.no_grad():
            return embed(network, self.target.train, self.space), embed(network, self.target.test, self.space)
