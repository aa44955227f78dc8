"""Data sets by name or path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from condense.data import cache, locate, opening
from condense.data.facts import FACTS, Facts, facts_of
from condense.data.names import Request, canonical, class_indices, parse
from condense.data.pixels import ColourPixels, SelectedPixels
from condense.data.split import Split, checked_classes
from condense.data.statistics import Channels
from condense.data.stored import Stored, StoredPart
from condense.errors import BadInput
from condense.identity import digest


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split of the same classes and shape."""

    name: str  # canonical: the folder's name for a path, adapters in fixed order
    train: Split
    test: Split
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # (C, H, W)
    fingerprint: str  # of both splits
    flips: bool  # a horizontal flip keeps the class
    mean: Channels
    std: Channels
    licence: str
    homepage: str


@dataclass(frozen=True)
class DatasetInfo:
    """One line of `condense list datasets`."""

    name: str
    source: str  # where it is, or would be, read from
    shape: tuple[int, int, int] | None  # None: sizes differ, the name needs one, as in imagenet@64
    n_classes: int
    available: bool
    how_to_get: str  # empty when it is available


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Opens a data set by name or path, with adapters as `condense.data.names` describes them.

    Folders are looked for in `data_dir` (default: CONDENSE_DATA) first, then in standard places, then among the
    files of torchvision, which downloads only when CONDENSE_DOWNLOAD=1. The first opening decodes the images into
    the cache (CONDENSE_CACHE); later ones map them into memory. Sets of 4 GiB and more are decoded on demand.

    Statistics are the published ones of `condense.data.facts`, else computed on the training split; a subset keeps
    those of the whole set, and +rgb repeats them.

    Raises:
        UnknownName: when nothing of that name is known or found, with the nearest names.
        BadInput: when data are missing, malformed, or cannot be decoded, saying which file and what to do.
        DamagedFile: for a truncated Parquet or idx file.
    """
    request = parse(name)
    source = locate.source(request.base, locate.folder(data_dir), cache.root(cache_dir))
    stored, every_class = opening.stored(source, request, cache.root(cache_dir))
    return _assembled(source.name, request, stored, every_class)


def known(data_dir: str | os.PathLike[str] | None = None) -> list[DatasetInfo]:
    """The data sets known by name, and where each is or how to get it."""
    folder = locate.folder(data_dir)
    infos = []
    for name, facts in FACTS.items():
        place = locate.find(name, folder, cache.root())
        how = "" if place.available else place.how_to_get
        infos.append(DatasetInfo(name, place.description, facts.shape, facts.n_classes, place.available, how))
    return infos


def _assembled(base: str, request: Request, stored: Stored, every_class: Sequence[str]) -> Dataset:
    channels = stored.train.pixels.shape[0]
    facts = facts_of(base, len(every_class), channels)
    chosen = tuple(range(len(every_class)))
    if request.classes is not None:
        chosen = class_indices(request.classes, every_class)
    partial = len(chosen) < len(every_class)
    colour = request.colour and channels == 1
    name = canonical(base, chosen if partial else None, colour, request.size if stored.resized else None)
    train, test = (_split(part, stored, facts) for part in (stored.train, stored.test))
    if partial and len(stored.classes) == len(every_class):
        train, test = _restricted(train, chosen), _restricted(test, chosen)
    if colour:
        train, test = _coloured(train), _coloured(test)
    _check(train, test, name)
    return Dataset(
        name, train, test, train.classes, train.shape, digest({"train": train.fingerprint, "test": test.fingerprint}),
        train.flips, train.mean, train.std, facts.licence, facts.homepage,
    )  # fmt: skip


def _split(part: StoredPart, stored: Stored, facts: Facts) -> Split:
    classes = checked_classes(stored.classes)
    mean, std = facts.mean or stored.mean, facts.std or stored.std
    return Split(part.pixels, part.labels, classes, facts.flips, mean, std, part.fingerprint)


def _restricted(split: Split, classes: Sequence[int]) -> Split:
    rows, labels = opening.rows_of(split.labels.numpy(), classes)
    return replace(
        split,
        pixels=SelectedPixels(split.pixels, torch.from_numpy(rows)),
        hidden_labels=torch.from_numpy(labels),
        classes=tuple(split.classes[index] for index in classes),
        fingerprint=digest({"part of": split.fingerprint, "classes": list(classes)}),
    )


def _coloured(split: Split) -> Split:
    return replace(
        split,
        pixels=ColourPixels(split.pixels),
        mean=split.mean * 3,
        std=split.std * 3,
        fingerprint=digest({"colour of": split.fingerprint}),
    )


def _check(train: Split, test: Split, name: str) -> None:
    counts = train.class_counts()
    if 0 in counts:
        empty = train.classes[counts.index(0)]
        raise BadInput(f"{name}: class {empty!r} has no training images; add some, or leave the class out")
    if not len(test):
        raise BadInput(f"{name}: the test split is empty; a data set needs test images to be judged on")
