"""Pairs of a committee and their votes, by hand."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch

from condense.errors import BadInput
from condense.recovery.voting import pairings, votes

# CV-DD's prior performance on CIFAR-100 and ImageNet-1K: ResNet-18, ResNet-50, ShuffleNet, MobileNet, DenseNet.
CIFAR100, IMAGENET = (64.0, 60.6, 51.6, 59.4, 56.4), (56.4, 42.3, 52.5, 44.2, 40.6)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_votes_of_a_pair_by_hand() -> None:
    assert votes([60.0, 60.0 + 5 * math.log(3)], 5.0) == pytest.approx([0.25, 0.75])
    assert votes([56.4, 42.3], 5.0) == pytest.approx([0.944, 0.056], abs=5e-4)
    assert votes([64.0, 59.4], 5.0) == pytest.approx([0.715, 0.285], abs=5e-4)
    assert votes([7.0, 7.0, 7.0], 5.0) == pytest.approx([1 / 3] * 3)


def test_votes_on_labels_are_those_of_the_published_priors() -> None:
    assert votes(CIFAR100, 10.0) == pytest.approx([0.323, 0.230, 0.093, 0.204, 0.151], abs=6e-4)
    assert votes(IMAGENET, 10.0) == pytest.approx([0.413, 0.101, 0.279, 0.122, 0.085], abs=6e-4)


def test_one_image_is_recovered_from_the_best_two() -> None:
    assert pairings(IMAGENET, 2, 1, seeded()) == [(0, 2)]  # ResNet-18 and ShuffleNet
    assert pairings([1.0, 1.0, 1.0], 2, 1, seeded()) == [(0, 1)]


def test_ten_images_are_recovered_from_each_pair_once_in_order() -> None:
    expected = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]
    assert pairings(CIFAR100, 2, 10, seeded()) == expected


def test_other_numbers_draw_pairs_evenly() -> None:
    drawn = pairings(CIFAR100, 2, 5000, seeded())
    counts = [drawn.count(pair) for pair in combinations(range(5), 2)]
    assert sum(counts) == 5000
    assert max(abs(count - 500) for count in counts) < 5 * (5000 * 0.1 * 0.9) ** 0.5  # five standard deviations
    assert drawn[:7] == pairings(CIFAR100, 2, 7, seeded())
    assert drawn[:7] != pairings(CIFAR100, 2, 7, seeded(1))


@pytest.mark.parametrize("size", [0, 6])
def test_more_members_than_there_are_cannot_be_asked_for(size: int) -> None:
    with pytest.raises(BadInput, match=f"from 1 to 5 members of this committee, got {size}"):
        pairings(CIFAR100, size, 10, seeded())
