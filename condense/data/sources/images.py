"""Folders of images: `train/<class>/...` and `test/<class>/...` or `val/`, and the layout of Tiny-ImageNet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from condense.data.sources import Contents, Encoded, Part, Source, file_facts
from condense.errors import BadInput

_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_TESTS = ("test", "val", "validation", "valid")
_ANNOTATIONS = "val_annotations.txt"  # Tiny-ImageNet: image, class, box; its test images have no labels

_Listed = list[tuple[Path, str]]  # image, class


def matches(folder: Path) -> bool:
    """Whether the folder has a training folder of this layout."""
    return (folder / "train").is_dir()


def source(folder: Path, name: str) -> Source:
    """The data set of a folder tree. Classes are the sub-folders of train/, in the order of their names.

    Raises:
        BadInput: when there is no test split, a training class has no images, or a test class is not a training class.
    """
    classes = _subfolders(folder / "train")
    if not classes:
        raise BadInput(f"{folder / 'train'} has no class folders; sort the images into train/<class>/")
    train = [(path, label) for label in classes for path in _images(folder / "train" / label)]
    present = {label for _, label in train}
    for label in classes:
        if label not in present:
            place = folder / "train" / label
            raise BadInput(f"class {label!r} has no images in {place}; add some or remove the folder")
    test = _test_images(folder, set(classes))
    facts = file_facts([path for path, _ in train + test], folder)
    key = {"kind": "images", "files": facts, "labels": [label for _, label in test]}
    return Source(name, key, lambda: Contents(_part(train, classes), _part(test, classes), tuple(classes)))


def _test_images(folder: Path, classes: set[str]) -> _Listed:
    if (folder / "val" / _ANNOTATIONS).is_file():
        return _annotated(folder / "val", classes)
    for place in (folder / name for name in _TESTS):
        found = _subfolders(place) if place.is_dir() else []
        listed = [(path, label) for label in found for path in _images(place / label)]
        # A test folder whose images are not sorted by class, as in ImageNet, is not the labelled one.
        if not listed or set(found) == {"images"}:
            continue
        if strange := sorted({label for _, label in listed} - classes):
            raise BadInput(f"{place / strange[0]} is a class that train/ lacks; add it there or remove it here")
        return listed
    raise BadInput(f"{folder} has no test split; sort labelled images into test/<class>/ or val/<class>/")


def _annotated(place: Path, classes: set[str]) -> _Listed:
    listed: _Listed = []
    path = place / _ANNOTATIONS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text in UTF-8 ({error.reason}); unpack the archive again") from error
    for number, line in enumerate(lines, start=1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in classes:
            raise BadInput(f"{path}, line {number}: expected image, class and box with a class of train/, got {line!r}")
        image = place / "images" / fields[0]
        if not image.is_file():
            raise BadInput(f"{path}, line {number}: there is no image {image}; unpack the archive again")
        listed.append((image, fields[1]))
    return listed


def _part(listed: _Listed, classes: list[str]) -> Part:
    paths = [path for path, _ in listed]
    number = {label: index for index, label in enumerate(classes)}
    labels = np.array([number[label] for _, label in listed], dtype=np.int64)

    def fetch(indices: Sequence[int]) -> list[Encoded]:
        return [paths[index] for index in indices]

    return Part(labels, fetch, lambda index: str(paths[index]))


def _subfolders(place: Path) -> list[str]:
    found = sorted(path for path in place.iterdir() if not path.name.startswith("."))
    return [path.name for path in map(_sound, found) if path.is_dir()]


def _images(place: Path) -> list[Path]:
    found = sorted(path for path in place.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return [path for path in map(_sound, found) if path.is_file()]


def _sound(path: Path) -> Path:
    """The path.  Refuses, with BadInput, what would change the data set without a word, or could not be recorded."""
    if path.is_symlink() and not path.exists():
        raise BadInput(f"{path} is a link that leads nowhere; restore what it points to, or remove it")
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{path.parent} holds {path.name!a}, a name that is not UTF-8; rename it") from error
    return path
