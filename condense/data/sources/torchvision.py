"""Data sets that torchvision reads, with its file formats and its checksums."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from condense.data.facts import FACTS
from condense.data.sources import Contents, Encoded, Part, Source, file_facts
from condense.data.split import checked_labels
from condense.errors import BadInput

_TRAIN_FLAG: tuple[Mapping[str, Any], Mapping[str, Any]] = ({"train": True}, {"train": False})
_SPLIT_NAME: tuple[Mapping[str, Any], Mapping[str, Any]] = ({"split": "train"}, {"split": "test"})


@dataclass(frozen=True)
class _Set:
    type_name: str  # in torchvision.datasets
    files: tuple[str, ...]  # what it leaves in its root folder
    arguments: tuple[Mapping[str, Any], Mapping[str, Any]] = field(default=_SPLIT_NAME)  # train, test


SETS: Mapping[str, _Set] = {
    "cifar10": _Set("CIFAR10", ("cifar-10-batches-py",), _TRAIN_FLAG),
    "cifar100": _Set("CIFAR100", ("cifar-100-python",), _TRAIN_FLAG),
    "mnist": _Set("MNIST", ("MNIST/raw",), _TRAIN_FLAG),
    "fashion-mnist": _Set("FashionMNIST", ("FashionMNIST/raw",), _TRAIN_FLAG),
    "kmnist": _Set("KMNIST", ("KMNIST/raw",), _TRAIN_FLAG),
    "usps": _Set("USPS", ("usps.bz2", "usps.t.bz2"), _TRAIN_FLAG),
    "svhn": _Set("SVHN", ("train_32x32.mat", "test_32x32.mat")),
    "stl10": _Set("STL10", ("stl10_binary",)),
    "food101": _Set("Food101", ("food-101",)),
    "flowers102": _Set("Flowers102", ("flowers-102",)),
    "oxford-pets": _Set("OxfordIIITPet", ("oxford-iiit-pet",), ({"split": "trainval"}, {"split": "test"})),
    "fgvc-aircraft": _Set("FGVCAircraft", ("fgvc-aircraft-2013b",), ({"split": "trainval"}, {"split": "test"})),
    "stanford-cars": _Set("StanfordCars", ("stanford_cars",)),
    "dtd": _Set("DTD", ("dtd",)),
}


def present(name: str, root: Path) -> bool:
    """Whether the files of a set lie in a root folder of torchvision."""
    return all((root / file).exists() for file in SETS[name].files)


def source(name: str, root: Path) -> Source:
    """A set whose files lie in a root folder of torchvision."""
    paths: list[Path] = []
    for file in SETS[name].files:
        place = root / file
        paths += sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    key = {"kind": "torchvision", "set": name, "files": file_facts(paths, root)}
    return Source(name, key, lambda: _read(name, root))


def download(name: str, root: Path) -> Source:
    """Fetches the files of a set, then reads them from there.

    Raises:
        BadInput: when they cannot be fetched.
    """
    print(f"condense: torchvision downloads {name} into {root}", file=sys.stderr)
    root.mkdir(parents=True, exist_ok=True)
    for arguments in SETS[name].arguments:
        _opened(name, root, {**arguments, "download": True})
    return source(name, root)


def _read(name: str, root: Path) -> Contents:
    train, test = (_opened(name, root, arguments) for arguments in SETS[name].arguments)
    published = FACTS[name]
    classes = published.classes or tuple(getattr(train, "classes", None) or map(str, range(published.n_classes)))
    return Contents(_part(train, f"{name} train", len(classes)), _part(test, f"{name} test", len(classes)), classes)


def _opened(name: str, root: Path, arguments: Mapping[str, Any]) -> Any:
    from condense import _torchvision

    dataset_type = getattr(_torchvision.load("datasets"), SETS[name].type_name)
    try:
        # torchvision reports on stdout, which belongs to results.
        with contextlib.redirect_stdout(sys.stderr):
            return dataset_type(root=str(root), **arguments)
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        reason = f"torchvision cannot read {name} in {root} ({str(error).splitlines()[0]})"
        raise BadInput(f"{reason}; remove its files there and get them anew") from error


def _part(dataset: Any, name: str, n_classes: int) -> Part:
    fields = [field for field in ("targets", "labels", "_labels") if hasattr(dataset, field)]
    stated = getattr(dataset, fields[0]) if fields else [label for _, label in dataset._samples]
    labels = checked_labels(np.asarray(stated), n_classes).numpy()

    def fetch(indices: Sequence[int]) -> list[Encoded]:
        return [dataset[index][0] for index in indices]

    return Part(labels, fetch, lambda index: f"image {index} of {name}")
