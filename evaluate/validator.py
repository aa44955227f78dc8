"""What `run.validate` computes: accuracy on held-out training images, for methods that must choose something."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

from condense.data import Split
from condense.distilled import DistilledSet
from condense.errors import BadInput, Diverged
from condense.evaluate.offers import training_source, why_not
from condense.evaluate.protocol import load
from condense.evaluate.trials import Trial
from condense.training import SplitSource, on_device


def make_validator(held: Split, *, device: str = "cpu") -> Callable[[DistilledSet], float]:
    """validate(set) -> mean accuracy on `held` of the networks and seeds of the `validation` protocol.

    Equal sets get equal answers, and sets are compared from the same initial weights. A set on which a network
    diverges gets 0, so that it is never chosen. A selection must have been made with its split at hand, as
    `DistilledSet.selection` does.

    Raises:
        BadInput: by the function returned, for a set without a class per image.
    """
    protocol = load("validation")

    def validate(candidate: DistilledSet) -> float:
        view = candidate.training_view()
        if reason := why_not(view.offers, protocol.needs):
            raise BadInput(f"the set cannot be validated: {reason}")
        source = on_device(training_source(view, protocol.needs, None), torch.device(device))
        test = on_device(SplitSource(held, view.preprocessing), torch.device(device))
        seeds = range(protocol.seeds)
        found = []
        for network in protocol.networks(held.shape):
            recipe = protocol.recipe_for(network, len(source), flips=held.flips)
            trial = Trial(source, test, held.shape, recipe, network, device, protocol.seeds)
            try:
                found += trial.accuracies(seeds, trial.engine(seeds[0]))
            except Diverged:
                return 0.0
        return statistics.fmean(found)

    return validate
