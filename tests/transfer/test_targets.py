"""Targets take the shape of the source; shares of labels are stratified, nested and the same for every start."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from condense import preprocessing
from condense.data import Dataset, Split, load
from condense.errors import BadInput
from condense.evaluate.transfer.targets import in_shape, labelled_rows, target_space


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("digits[5-9]", (1, 8, 8), "digits[5-9]"),
        ("digits", (3, 32, 32), "digits+rgb@32"),
        ("digits+rgb", (3, 8, 8), "digits+rgb"),
        ("digits", (1, 8, 12), "digits@8x12"),
    ],
)
def test_a_target_is_brought_into_the_shape_of_the_source(
    name: str, shape: tuple[int, int, int], expected: str
) -> None:
    found = in_shape(name, shape, load)
    assert (found.name, found.shape) == (expected, shape)


def test_colour_does_not_become_grey_and_a_size_that_was_asked_for_stays() -> None:
    with pytest.raises(BadInput, match="as digits\\+rgb"):
        in_shape("digits+rgb", (1, 8, 8), load)
    with pytest.raises(BadInput, match="leave out its @size"):
        in_shape("digits@16", (1, 8, 8), load)


def test_a_share_is_of_every_class_and_at_least_one_image(targets: list[Dataset]) -> None:
    train = targets[0].train
    assert train.labels[labelled_rows(train, 0.25, 0)].bincount().tolist() == [3, 3, 3, 3]
    assert train.labels[labelled_rows(train, 0.01, 0)].bincount().tolist() == [1, 1, 1, 1]
    assert torch.equal(labelled_rows(train, 1.0, 0), torch.arange(48))


def test_shares_are_nested_and_differ_between_seeds(targets: list[Dataset]) -> None:
    train = targets[0].train
    small, large = (set(labelled_rows(train, share, 4).tolist()) for share in (0.1, 0.5))
    assert small < large
    assert set(labelled_rows(train, 0.5, 5).tolist()) != large


SIZES = [40, 10, 3]  # images of each class


@pytest.mark.parametrize(
    ("share", "expected"), [(0.01, [1, 1, 1]), (0.1, [4, 1, 1]), (0.25, [10, 2, 1]), (0.5, [20, 5, 2]), (1.0, SIZES)]
)
def test_a_share_is_stratified_where_classes_differ_in_size(share: float, expected: list[int]) -> None:
    train = unbalanced()
    rows = labelled_rows(train, share, 7)
    assert train.labels[rows].bincount().tolist() == expected
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert torch.equal(rows, labelled_rows(train, share, 7))


@pytest.mark.parametrize("seed", range(3))
def test_every_larger_share_holds_every_smaller_one(seed: int) -> None:
    shares = [set(labelled_rows(unbalanced(), share, seed).tolist()) for share in (0.01, 0.1, 0.25, 0.5, 0.9, 1.0)]
    assert all(small < large for small, large in itertools.pairwise(shares))


def unbalanced() -> Split:
    """Classes mixed up in the order of the rows."""
    labels = torch.arange(3).repeat_interleave(torch.tensor(SIZES))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    return Split.from_arrays(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), labels, ("a", "b", "c"), flips=False)


def test_a_normalised_start_meets_the_target_by_the_target_s_statistics(targets: list[Dataset]) -> None:
    train = dataclasses.replace(targets[0].train, mean=(0.3,), std=(0.1,))
    assert target_space(train, preprocessing.normalise((0.9,), (0.5,))).mean == (0.3,)
    assert target_space(train, None).std == (0.1,)
    assert target_space(train, preprocessing.identity()).kind == "identity"
