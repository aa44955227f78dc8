"""The grammar of data set names."""

from __future__ import annotations

import pytest

from condense.data import load
from condense.data.names import Request, canonical, class_indices, parse
from condense.errors import BadInput, UnknownName

NAMES = tuple(f"class-{index}" for index in range(10))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", Request("digits")),
        ("cifar10[0-4]", Request("cifar10", ("0-4",))),
        ("cifar10[0, 3,5]", Request("cifar10", ("0", "3", "5"))),
        ("digits@32", Request("digits", None, False, (32, 32))),
        ("digits@32x48", Request("digits", None, False, (32, 48))),
        ("digits+rgb@32", Request("digits", None, True, (32, 32))),
        ("digits@32+rgb[cat]", Request("digits", ("cat",), True, (32, 32))),
        ("/some/folder-1.2[0]", Request("/some/folder-1.2", ("0",))),
    ],
)
def test_a_name_is_a_base_and_adapters_in_any_order(name: str, expected: Request) -> None:
    assert parse(name) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "is not a data set name"),
        ("[0-4]", "is not a data set name"),
        ("digits[0][1]", "two adapters of the kind '\\['"),
        ("digits+rgb+rgb", "two adapters of the kind '\\+'"),
        ("digits@8@16", "two adapters of the kind '@'"),
        ("digits@", "the size after @ is pixels, got ''"),
        ("digits@0", "the size after @ is pixels, got '0'"),
        ("digits@32x0", "write @32, or @32x48 for height x width"),
        ("digits@-3", "the size after @ is pixels, got '-3'"),
        ("digits@99999999", "at most 16384, got 99999999"),
        ("digits@big", "the size after @ is pixels, got 'big'"),
    ],
)
def test_a_malformed_name_says_what_to_write(name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse(name)


def test_an_unknown_adapter_offers_the_known_one() -> None:
    with pytest.raises(UnknownName, match=r"unknown adapter '\+rbg'; did you mean \+rgb\?"):
        parse("digits+rbg")


def test_classes_are_indices_ranges_or_names_in_ascending_order() -> None:
    assert class_indices(("5", "0-2", "class-9"), NAMES) == (0, 1, 2, 5, 9)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("10",), r"classes \[10\]: indices must rise and lie in 0 to 9"),
        (("8-12",), r"classes \[8-12\]: indices must rise and lie in 0 to 9"),
        (("4-2",), r"classes \[4-2\]: indices must rise"),
        (("3", "1-4"), "class 3 \\(class-3\\) stands twice"),
        (("",), "an empty place"),
        (("0", ""), "an empty place"),
        (("clas-1",), "unknown class 'clas-1'; did you mean class-1"),
    ],
)
def test_a_wrong_subset_says_which_class(wanted: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        class_indices(wanted, NAMES)


def test_the_canonical_name_has_one_spelling() -> None:
    assert canonical("cifar10", (5, 0, 1, 2), True, (32, 48)) == "cifar10[0-2,5]+rgb@32x48"
    assert canonical("cifar10", None, False, (16, 16)) == "cifar10@16"


@pytest.mark.parametrize("name", ["digits@12+rgb[2,0-1]", "digits[0,1,2]@12+rgb", "digits+rgb[0-2]@12x12"])
def test_equal_data_have_equal_names_and_fingerprints(name: str) -> None:
    reference = load("digits[0-2]+rgb@12")
    dataset = load(name)
    assert dataset.name == "digits[0-2]+rgb@12"
    assert dataset.fingerprint == reference.fingerprint
    assert dataset.train.fingerprint == reference.train.fingerprint


@pytest.mark.parametrize("name", ["digits[0-9]", "digits@8", "digits@8x8[0-4,5-9]"])
def test_an_adapter_that_changes_nothing_leaves_the_name_and_the_fingerprint(name: str) -> None:
    assert load(name).name == "digits"
    assert load(name).fingerprint == load("digits").fingerprint


def test_different_data_have_different_fingerprints() -> None:
    names = ["digits", "digits[0-4]", "digits[0-5]", "digits+rgb", "digits@9", "digits@9x8"]
    datasets = [load(name) for name in names]
    assert len({dataset.fingerprint for dataset in datasets}) == len(names)
    splits = [split.fingerprint for dataset in datasets for split in (dataset.train, dataset.test)]
    assert len(set(splits)) == 2 * len(names)


def test_an_unknown_data_set_offers_the_nearest_names() -> None:
    with pytest.raises(UnknownName, match="unknown data set 'cifar-10'; did you mean cifar10"):
        load("cifar-10")
