"""FYI's mirrored batch: by hand, its gradient, and the data that it is refused for."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from condense.errors import BadInput
from condense.mirror import expansion, mirrored


@dataclass(frozen=True)
class Data:
    flips: bool


def test_a_mirrored_batch_by_hand() -> None:
    images = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]], [[[7.0, 8.0, 9.0], [0.0, 0.0, 1.0]]]])
    batch, labels = mirrored(images, torch.tensor([4, 2]))
    assert batch.tolist() == [
        [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]],
        [[[7.0, 8.0, 9.0], [0.0, 0.0, 1.0]]],
        [[[3.0, 2.0, 1.0], [6.0, 5.0, 4.0]]],
        [[[9.0, 8.0, 7.0], [1.0, 0.0, 0.0]]],
    ]
    assert labels.tolist() == [4, 2, 4, 2]


def test_the_gradient_is_that_of_the_first_half_plus_the_mirrored_one_of_the_second() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 2, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, 2, 4, 5, generator=generator, dtype=torch.float64)
    batch, _ = mirrored(images, torch.arange(3))
    loss = (batch**3 * weights).sum()
    by_batch, by_images = torch.autograd.grad(loss, (batch, images))
    assert torch.equal(by_images, by_batch[:3] + by_batch[3:].flip(3))


def test_targets_of_any_form_are_repeated_and_both_copies_reach_them() -> None:
    targets = torch.tensor([[0.25, 0.75], [1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    _, both = mirrored(torch.zeros(2, 1, 2, 2), targets)
    (both * torch.tensor([[1.0], [2.0], [10.0], [20.0]])).sum().backward()
    assert targets.grad is not None
    assert targets.grad.tolist() == [[11.0, 11.0], [22.0, 22.0]]


def test_switched_off_the_batch_stays_as_it_is() -> None:
    images, labels = torch.zeros(2, 1, 2, 2), torch.arange(2)
    for data in (Data(flips=True), Data(flips=False)):
        same_images, same_labels = expansion(data, mirror=False)(images, labels)
        assert same_images is images
        assert same_labels is labels


def test_mirrors_are_refused_for_data_whose_classes_they_change() -> None:
    assert expansion(Data(flips=True), mirror=True) is mirrored
    with pytest.raises(BadInput) as caught:
        expansion(Data(flips=False), mirror=True)
    assert str(caught.value) == (
        "mirror adds mirror images, which change the class of this data (as of digits); leave it off"
    )
