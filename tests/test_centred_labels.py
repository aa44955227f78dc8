"""Labels as values of a regression: centred, scaled, and kept in their class."""

from __future__ import annotations

import pytest
import torch

from condense.centred_labels import centred, initial_targets, lost_margin
from condense.errors import BadInput


def test_the_margin_keeps_a_learned_label_in_its_class() -> None:
    labels = torch.tensor([[0.5, 0.1, 0.0, 0.0], [0.2, 0.1, 0.0, 0.0]], requires_grad=True)
    value = lost_margin(labels)
    assert value.item() == pytest.approx(-(0.25 + 0.1) / 2)
    value.backward()
    expected = torch.tensor([[0.0, 0, 0, 0], [-0.5, 0.5, 0, 0]])  # beyond 1/K nothing pulls any more
    torch.testing.assert_close(labels.grad, expected)


def test_labels_start_centred_and_scaled() -> None:
    targets = initial_targets(torch.tensor([1]), 40)
    torch.testing.assert_close(targets.sum(), torch.tensor(0.0), atol=1e-6, rtol=0.0)
    assert float(targets[0, 1]) == pytest.approx((1 - 1 / 40) / 2)
    assert float(centred(torch.tensor([1]), 40)[0, 0]) == pytest.approx(-1 / 40)


def test_one_class_has_nothing_to_tell_apart() -> None:
    with pytest.raises(BadInput, match="at least two classes"):
        initial_targets(torch.tensor([0, 0]), 1)
