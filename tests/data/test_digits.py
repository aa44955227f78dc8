"""The embedded digits: a fixed published split."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from condense.data import load


def test_the_published_split_is_unchanged() -> None:
    digits = load("digits")
    # A different number here is a different data set: every published result on digits would lose its meaning.
    assert digits.fingerprint == "4643a2745f9dfaf3fd2794c6a5d9f8a6393457aa203fde0ebb2057e68957fb42"
    assert (len(digits.train), len(digits.test)) == (1438, 359)
    assert digits.train.class_counts() == [142, 146, 142, 146, 145, 146, 145, 143, 139, 144]
    assert digits.shape == (1, 8, 8)
    assert digits.classes == tuple("0123456789")
    assert digits.flips is False
    assert digits.train.flips is False


def test_levels_become_bytes_by_the_stated_rule() -> None:
    from sklearn.datasets import load_digits

    digits = load("digits")
    both = torch.cat([split.take(torch.arange(len(split))) for split in (digits.train, digits.test)]).numpy()
    expected = np.floor(load_digits().images * 255 / 16 + 0.5).astype(np.uint8)
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in expected)


def test_the_two_splits_together_are_the_source() -> None:
    from sklearn.datasets import load_digits

    digits = load("digits")
    labels = torch.cat([digits.train.labels, digits.test.labels])
    assert torch.bincount(labels).tolist() == np.bincount(load_digits().target).tolist()


def test_a_subset_renumbers_labels_and_keeps_names() -> None:
    part = load("digits[3,7-8]")
    whole = load("digits")
    assert part.classes == ("3", "7", "8")
    assert part.train.class_counts() == [146, 143, 139]
    rows = torch.isin(whole.train.labels, torch.tensor([3, 7, 8])).nonzero().flatten()
    assert torch.equal(part.train.take(range(len(part.train))), whole.train.take(rows))
    assert part.train.mean == whole.train.mean


def test_one_class_alone_is_a_data_set() -> None:
    part = load("digits[4]")
    assert part.train.class_counts() == [145]
    assert part.train.labels.unique().tolist() == [0]


def test_a_resized_grey_set_in_colour_has_three_equal_channels() -> None:
    dataset = load("digits+rgb@5x7")
    assert dataset.shape == (3, 5, 7)
    images = dataset.train.take([0, 9])
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])
    assert len(dataset.mean) == len(dataset.std) == 3


@pytest.mark.parametrize("name", ["digits@4", "digits@16"])
def test_resizing_is_antialiased_bilinear(name: str) -> None:
    whole, resized = load("digits").train, load(name).train
    size = resized.shape[1:]
    reference = torch.nn.functional.interpolate(
        whole.take(range(50)).double(), size, mode="bilinear", antialias=True, align_corners=False
    )
    # Pillow rounds after each of the two passes, with weights of 8 bits more than the result: at most one level.
    assert (resized.take(range(50)).double() - reference).abs().max() <= 1.0
