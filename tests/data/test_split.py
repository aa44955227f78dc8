"""Splits: what they hand out, what they refuse, and that their parts are lazy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from condense.data import Split, validation_split
from condense.data.pixels import ColourPixels
from condense.errors import BadInput

CLASSES = ("cat", "dog", "cow")


def made(count: int = 30, shape: tuple[int, int, int] = (3, 4, 5)) -> Split:
    images = np.random.default_rng(1).integers(0, 256, (count, *shape), dtype=np.uint8)
    return Split.from_arrays(images, [index % 3 for index in range(count)], CLASSES)


def test_take_gives_the_images_in_the_order_asked_with_repeats() -> None:
    images = torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).view(4, 3, 2, 2)
    split = Split.from_arrays(images, [0, 1, 0, 1], ("a", "b"))
    assert split.shape == (3, 2, 2)
    assert len(split) == 4
    for indices in ([2, 0, 2], torch.tensor([2, 0, 2], dtype=torch.int32), np.array([2, 0, 2])):
        taken = split.take(indices)
        assert taken.dtype == torch.uint8
        assert torch.equal(taken, images[[2, 0, 2]])
    assert split.take([]).shape == (0, 3, 2, 2)


def test_what_take_returns_is_not_the_split_itself() -> None:
    split = made()
    before = split.take([0]).clone()
    split.take([0]).zero_()
    assert torch.equal(split.take([0]), before)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([30], r"indices must lie in \[0, 30\), got 30 to 30"),
        ([-1, 3], r"got -1 to 3"),
        ([0.5], "a row of whole numbers, got float64 of shape \\(1,\\)"),
        (torch.ones(30, dtype=torch.bool), "a row of whole numbers, got torch.bool"),
        ([[0, 1]], "of shape \\(1, 2\\)"),
    ],
)
def test_wrong_indices_are_refused(indices: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        made().take(indices)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        (np.zeros((2, 1, 3, 3), np.float32), [0, 1], "ab", "images must be uint8 \\(N, C, H, W\\), got torch.float32"),
        (np.zeros((2, 3, 3), np.uint8), [0, 1], "ab", "got torch.uint8 of shape \\(2, 3, 3\\)"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0, 2], "ab", r"labels must lie in \[0, 2\), found 0 to 2"),
        (np.zeros((2, 1, 3, 3), np.uint8), [-1, 0], "ab", "found -1 to 0"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0.0, 1.0], "ab", "labels must be a row of whole numbers, got float64"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0], "ab", "2 images came with 1 labels"),
        (np.zeros((0, 1, 3, 3), np.uint8), [], "ab", "at least one image"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0, 0], "", "at least one class"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0, 0], "aba", "class names must differ, 'a' stands 2 times"),
    ],
)
def test_arrays_that_are_no_split_are_refused(images: object, labels: list[int], classes: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Split.from_arrays(images, labels, tuple(classes))  # type: ignore[arg-type]


def test_classes_are_found_and_counted_even_when_one_is_empty() -> None:
    split = Split.from_arrays(np.zeros((3, 1, 2, 2), np.uint8), [2, 0, 2], CLASSES)
    assert split.of_class(2).tolist() == [0, 2]
    assert split.of_class(1).tolist() == []
    assert split.class_counts() == [1, 0, 2]
    with pytest.raises(BadInput, match=r"class index must lie in \[0, 3\), got 3"):
        split.of_class(3)


def test_statistics_are_those_of_all_pixels_and_a_constant_channel_is_not_scaled() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 2, 3, 3), dtype=np.uint8)
    images[:, 1] = 51
    split = Split.from_arrays(images, [0] * 7, ("a",))
    pixels = images[:, 0].astype(np.float64) / 255
    assert split.mean == pytest.approx((pixels.mean(), 0.2), abs=1e-15)  # integer sums: only the last division rounds
    assert split.std == pytest.approx((pixels.std(), 1.0), abs=1e-15)


def test_a_subset_of_a_subset_shares_the_pixels_of_the_whole() -> None:
    split = made()
    part = split.subset([4, 9, 2, 7]).subset(torch.tensor([3, 0]))
    assert torch.equal(part.take([0, 1]), split.take([7, 4]))
    assert part.labels.tolist() == [7 % 3, 4 % 3]
    assert part.pixels.source is split.pixels  # type: ignore[attr-defined]
    assert part.n_classes == 3


def test_an_empty_subset_is_refused() -> None:
    with pytest.raises(BadInput, match="a subset needs at least one image"):
        made().subset([])


def test_fingerprints_tell_pixels_labels_classes_and_order_apart() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 1, 2, 2), dtype=np.uint8)
    changed = images.copy()
    changed[0, 0, 0, 0] ^= 1
    variants = [
        Split.from_arrays(images, [0, 1, 0, 1], ("a", "b")),
        Split.from_arrays(changed, [0, 1, 0, 1], ("a", "b")),
        Split.from_arrays(images, [0, 1, 1, 1], ("a", "b")),
        Split.from_arrays(images, [0, 1, 0, 1], ("a", "c")),
        Split.from_arrays(images.reshape(4, 1, 1, 4), [0, 1, 0, 1], ("a", "b")),
        Split.from_arrays(images[[1, 0, 3, 2]], [1, 0, 1, 0], ("a", "b")),
    ]
    variants += [variants[0].subset([0, 1]), variants[0].subset([1, 0])]
    assert len({split.fingerprint for split in variants}) == len(variants)
    again = Split.from_arrays(torch.from_numpy(images), np.array([0, 1, 0, 1], np.int32), ["a", "b"])
    assert again.fingerprint == variants[0].fingerprint


def test_an_unlabelled_split_withholds_labels_and_nothing_else() -> None:
    split = made()
    blind = split.unlabelled()
    for ask in (lambda: blind.labels, lambda: blind.of_class(0), blind.class_counts):
        with pytest.raises(BadInput, match="this split is unlabelled"):
            ask()
    assert blind.fingerprint == split.fingerprint
    assert torch.equal(blind.subset([3]).take([0]), split.take([3]))
    with pytest.raises(BadInput, match="this split is unlabelled"):
        _ = blind.subset([3]).labels


def test_moving_to_the_same_device_changes_nothing() -> None:
    split = made()
    assert split.to("cpu") is split
    assert split.device == torch.device("cpu")


def test_moving_a_subset_moves_only_its_images() -> None:
    part = made().subset([1, 2]).to("meta")
    assert part.pixels.images.shape == (2, 3, 4, 5)  # type: ignore[attr-defined]
    assert part.device.type == "meta"
    assert part.labels.tolist() == [1, 2]


def test_a_grey_split_in_colour_repeats_its_channel() -> None:
    grey = made(shape=(1, 4, 5))
    colour = ColourPixels(grey.pixels)
    assert colour.shape == (3, 4, 5)
    assert torch.equal(colour.take(torch.tensor([2])), grey.take([2]).repeat(1, 3, 1, 1))


def test_validation_holds_a_tenth_of_each_class_back_and_is_fixed() -> None:
    split = made(75)  # 25 of each class
    kept, held = validation_split(split)
    assert held.class_counts() == [2, 2, 2]
    assert kept.class_counts() == [23, 23, 23]
    rows = torch.cat([kept.pixels.indices, held.pixels.indices])  # type: ignore[attr-defined]
    assert rows.sort().values.tolist() == list(range(75))
    again = validation_split(split)
    assert (again[0].fingerprint, again[1].fingerprint) == (kept.fingerprint, held.fingerprint)
    assert held.pixels.indices.tolist() != list(range(6))  # type: ignore[attr-defined]  # not simply the first ones


def test_validation_takes_one_of_two_images_and_leaves_a_single_one() -> None:
    split = Split.from_arrays(np.zeros((3, 1, 2, 2), np.uint8), [0, 1, 0], ("a", "b"))
    kept, held = validation_split(split)
    assert kept.class_counts() == [1, 1]
    assert held.class_counts() == [1, 0]
    single = Split.from_arrays(np.zeros((2, 1, 2, 2), np.uint8), [0, 1], ("a", "b"))
    with pytest.raises(BadInput, match="none can be held back"):
        validation_split(single)
