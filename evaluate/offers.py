"""Whether a set can be judged under a protocol, and what a network then trains on."""

from __future__ import annotations

import dataclasses
import math

from condense.distilled import HardLabels, Labels, Offers, SoftLabels, TrainingView
from condense.evaluate.protocol import Needs, Protocol

# What a label tells of the class, as a share of all that there is to tell, log K: below this next to nothing is left.
_FAINT = 0.2

_WHAT = {
    "hard": "a class per image",
    "soft": "soft labels",
    "replay": "stored labels for every epoch",
    "teacher": "a teacher of its own",
    "representation": "representation targets",
}


def why_not(offers: Offers, needs: Needs) -> str | None:
    """Why a set that offers this cannot be judged, in words for an n/a cell; None when it can."""
    if needs.labels != "none" and needs.labels not in offers.labels:
        has = " and ".join(_WHAT.get(kind, kind) for kind in sorted(offers.labels)) or "no labels"
        advice = _advice(offers)
        return f"the protocol trains on {_WHAT[needs.labels]}, the set has {has}; {advice}"
    if needs.views == "set" and offers.views != "set":
        return "the protocol replays crops, flips and mixes that come with the labels, the set has none"
    return None


def _advice(offers: Offers) -> str:
    if offers.labels == {"representation"}:
        return "use `condense transfer SET --targets DATASET`, or a protocol whose teacher labels every set"
    return "judge it under its own paper's protocol, or one whose teacher labels every set"


def faint_labels(labels: Labels, protocol: Protocol) -> str | None:
    """A warning, where a protocol reads soft labels by their softmax and this leaves next to nothing of them.

    So it is with the values of a regression, centred at zero, as FRePo and KIP learn them: they are compared with a
    network's outputs by a squared error, and their softmax is nearly uniform.
    """
    if not isinstance(labels, SoftLabels) or labels.form != "logits" or protocol.needs.labels != "soft":
        return None
    if protocol.recipe.get("loss", {}).get("kind") == "mse":
        return None
    read = labels.values.double().softmax(1)
    told = 1 + float(read.xlogy(read).sum(1).mean()) / math.log(max(labels.n_classes, 2))
    if told >= _FAINT:
        return None
    largest = float(read.max(1).values.mean())
    return (
        f"{protocol.name} trains with the softmax of the set's labels, whose largest probability is {largest:.2f} on "
        f"average ({1 / labels.n_classes:.2f} would be no label): if they are values of a regression, as of FRePo and "
        "KIP, use a protocol on hard labels"
    )


def training_source(view: TrainingView, needs: Needs, teacher: Labels | None) -> TrainingView:
    """The set with the labels that the protocol trains on.

    Soft labels are hardened for a protocol on hard labels: each image counts as its most likely class.
    """
    if teacher is not None:
        return dataclasses.replace(view, labels=teacher)
    if needs.labels == "hard":
        return dataclasses.replace(view, labels=HardLabels(view.labels.hard(), view.n_classes))
    return view
