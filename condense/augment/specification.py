"""Augmentations and mixes from JSON: protocols and recipes name them by kind and fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from condense.augment.augmentation import Augmentation, NoAugmentation
from condense.augment.crops import CropFlip, RandomResizedCrop
from condense.augment.dsa import DSA
from condense.augment.mixing import CutMix, Mixing, MixUp
from condense.errors import BadInput, UnknownName

_Kind = TypeVar("_Kind", bound=Augmentation | Mixing)


def from_spec(spec: Mapping[str, Any]) -> Augmentation:
    """The augmentation that a specification such as {"kind": "crop-flip", "padding": 4} names.

    Raises:
        UnknownName: for a kind or a field that does not exist.
        BadInput: for a specification without a kind, or a value that the augmentation refuses.
    """
    return _read(spec, {kind.kind: kind for kind in (NoAugmentation, DSA, CropFlip, RandomResizedCrop)}, "augmentation")


def mixing_from_spec(spec: Mapping[str, Any]) -> Mixing:
    """The mix that a specification such as {"kind": "cutmix", "alpha": 1.0} names. Raises as `from_spec`."""
    return _read(spec, {kind.kind: kind for kind in (CutMix, MixUp)}, "mix")


def _read(spec: Mapping[str, Any], kinds: Mapping[str, type[_Kind]], noun: str) -> _Kind:
    if not isinstance(spec, Mapping) or not isinstance(spec.get("kind"), str):
        raise BadInput(f"the specification of {noun} is a mapping with a kind ({', '.join(kinds)}), got {spec!r}")
    name = spec["kind"]
    if name not in kinds:
        raise UnknownName(noun, name, kinds)
    values = {field: value for field, value in spec.items() if field != "kind"}
    known = {field.name: type(field.default) for field in dataclasses.fields(kinds[name])}
    for field, value in values.items():
        if field not in known:
            raise UnknownName(f"field of {name}", field, known)
        if not _is_a(known[field], value):
            raise BadInput(f"{field} of {name} must be a {known[field].__name__}, got {value!r}")
    return kinds[name](**values)


def _is_a(kind: type, value: object) -> bool:
    """Whether a JSON value fits a field: whole numbers are floats too, a list is a tuple, a bool is neither."""
    accepted: dict[type, tuple[type, ...]] = {float: (int, float), tuple: (list, tuple)}
    return isinstance(value, accepted.get(kind, (kind,))) and (kind is bool or not isinstance(value, bool))
