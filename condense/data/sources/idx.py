"""Folders with the four idx files of MNIST and its successors, plain or gzipped."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from condense.data.facts import FACTS
from condense.data.sources import Contents, Part, Source, array_part, file_facts
from condense.data.split import checked_labels
from condense.errors import BadInput, DamagedFile

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def matches(folder: Path) -> bool:
    """Whether the folder holds the training images of this layout."""
    return _found(folder, _FILES["train"][0]) is not None


def source(folder: Path, name: str) -> Source:
    """The data set of the four files.

    Raises:
        BadInput: naming the file that is missing.
    """
    parts = {split: tuple(_required(folder, file) for file in names) for split, names in _FILES.items()}
    key = {"kind": "idx", "files": file_facts([path for pair in parts.values() for path in pair], folder)}
    return Source(name, key, lambda: _read(parts["train"], parts["test"], name))


def parse(path: Path) -> NDArray[np.uint8]:
    """The array of bytes in an idx file, of any number of dimensions.

    Raises:
        DamagedFile: when it is truncated, or not an idx file of bytes.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedFile(path, str(error)) from error
    # Magic number: two zero bytes, 8 for unsigned bytes, the number of dimensions; then each of them, big-endian.
    if len(data) < 4 or data[:3] != b"\x00\x00\x08" or len(data) < 4 + 4 * data[3]:
        raise DamagedFile(path, "not an idx file of bytes")
    shape = tuple(np.frombuffer(data, ">u4", count=data[3], offset=4).tolist())
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if values.size != int(np.prod(shape)):
        raise DamagedFile(path, f"{values.size} bytes of data where its header announces {shape}")
    return values.reshape(shape)


def _read(train: tuple[Path, ...], test: tuple[Path, ...], name: str) -> Contents:
    published = FACTS[name].classes if name in FACTS else None
    stated = {path: parse(path) for _, path in (train, test)}
    count = 1 + max((int(labels.max()) for labels in stated.values() if labels.size), default=0)
    classes = published or tuple(map(str, range(count)))
    return Contents(_part(train, stated, len(classes)), _part(test, stated, len(classes)), classes)


def _part(paths: tuple[Path, ...], stated: dict[Path, NDArray[np.uint8]], n_classes: int) -> Part:
    images_path, labels_path = paths
    images = parse(images_path)
    try:
        labels = checked_labels(stated[labels_path], n_classes).numpy()
    except BadInput as error:
        raise BadInput(f"{labels_path}: {error}") from error
    if images.ndim != 3 or len(images) != len(labels):
        found = f"{images.shape} images and {labels.shape} labels"
        raise BadInput(f"{images_path.parent}: {found}; expected (N, H, W) and (N,), get both files from one place")
    return array_part(images, labels, str(images_path))


def _required(folder: Path, name: str) -> Path:
    path = _found(folder, name)
    if path is None:
        raise BadInput(f"{folder} lacks {name}.gz (or without .gz); put the four files of the data set there")
    return path


def _found(folder: Path, name: str) -> Path | None:
    # The suffix .idx3-ubyte is how some archives spell it.
    spellings = (name, name.replace("-idx", ".idx"))
    candidates = [folder / f"{spelling}{end}" for spelling in spellings for end in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)
