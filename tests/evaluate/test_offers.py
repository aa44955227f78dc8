"""What a set's labels are to a protocol."""

from __future__ import annotations

import pytest
import torch

from condense.centred_labels import initial_targets
from condense.distilled import HardLabels, SoftLabels
from condense.evaluate import protocols
from condense.evaluate.offers import faint_labels

CENTRED = SoftLabels(initial_targets(torch.arange(10), 10), form="logits")


def test_values_of_a_regression_are_not_read_as_logits_without_a_word() -> None:
    told = faint_labels(CENTRED, protocols.load("datm"))
    assert told is not None
    assert "largest probability is 0.23 on average (0.10 would be no label)" in told


@pytest.mark.parametrize(
    ("labels", "protocol"),
    [
        (SoftLabels(8 * torch.eye(10), form="logits"), "datm"),  # a teacher's
        (SoftLabels(torch.full((10, 10), 0.1)), "datm"),  # probabilities are what they say
        (CENTRED, "hard-dsa"),
        (HardLabels(torch.arange(10), 10), "datm"),
    ],
    ids=["logits", "probabilities", "hard-protocol", "hard-labels"],
)
def test_other_labels_and_protocols_give_no_warning(labels, protocol) -> None:
    assert faint_labels(labels, protocols.load(protocol)) is None
