"""Whether a set can be judged under a protocol, and what a network then trains on."""

from __future__ import annotations

import dataclasses

from condense.distilled import HardLabels, Labels, Offers, TrainingView
from condense.evaluate.protocol import Needs

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


def training_source(view: TrainingView, needs: Needs, teacher: Labels | None) -> TrainingView:
    """The set with the labels that the protocol trains on.

    Soft labels are hardened for a protocol on hard labels: each image counts as its most likely class.
    """
    if teacher is not None:
        return dataclasses.replace(view, labels=teacher)
    if needs.labels == "hard":
        return dataclasses.replace(view, labels=HardLabels(view.labels.hard(), view.n_classes))
    return view
