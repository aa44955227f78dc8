"""The real CIFAR-10 and Fashion-MNIST, where they are at hand."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from condense import files
from condense.data import Dataset, cache, load
from condense.data.locate import _STANDARD

FASHION = _STANDARD["fashion-mnist"]


@pytest.fixture(scope="module")
def cifar10(cache_of_this_session: Path) -> Dataset:
    return load("cifar10", cache_dir=cache_of_this_session)


@pytest.fixture(autouse=True)
def own_cache() -> None:
    """Overrides the cache of single tests: CIFAR-10 is decoded once for all tests here."""


@pytest.mark.real_data
def test_cifar10_is_the_published_one(cifar10: Dataset, cache_of_this_session: Path) -> None:
    assert cifar10.name == "cifar10"
    assert cifar10.train.class_counts() == [5000] * 10
    assert cifar10.test.class_counts() == [1000] * 10
    assert cifar10.classes[3] == "cat"
    (entry,) = (entry for entry in cache.entries(cache_of_this_session) if entry.name.startswith("cifar10-"))
    computed = files.read_json(entry / "entry.json")
    # Over all training pixels, published to 8 digits; a wrong order of colours or a lost image would show here.
    assert computed["mean"] == pytest.approx([0.49139968, 0.48215841, 0.44653091], abs=1e-8)
    assert computed["std"] == pytest.approx([0.24703223, 0.24348513, 0.26158784], abs=1e-8)
    assert cifar10.std == (0.2023, 0.1994, 0.2010)  # the number the field uses, which is not that one


@pytest.mark.real_data
def test_opening_cifar10_a_second_time_takes_under_a_second(cifar10: Dataset, cache_of_this_session: Path) -> None:
    start = time.perf_counter()
    again = load("cifar10", cache_dir=cache_of_this_session)
    assert time.perf_counter() - start < 1.0  # measured: 5 ms
    assert again.fingerprint == cifar10.fingerprint


@pytest.mark.skipif(not FASHION.is_dir(), reason=f"no {FASHION}: apt-get install dataset-fashion-mnist")
def test_fashion_mnist_is_found_in_its_standard_place(tmp_path: Path) -> None:
    dataset = load("fashion-mnist[0,9]", cache_dir=tmp_path)
    assert dataset.classes == ("T-shirt/top", "Ankle boot")
    assert dataset.train.class_counts() == [6000, 6000]
    assert dataset.test.class_counts() == [1000, 1000]
