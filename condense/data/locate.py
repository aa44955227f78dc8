"""Where a data set lies: the data directory first, then standard places, then the files of torchvision."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from condense.data.facts import FACTS
from condense.data.sources import Source, digits, layouts, torchvision
from condense.errors import BadInput, UnknownName

_STANDARD = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}
_BY_HAND = {
    "fashion-mnist": "or `apt-get install dataset-fashion-mnist`",
    "tiny-imagenet": "unpack tiny-imagenet-200.zip of the homepage",
    "imagenet": "unpack ILSVRC2012 into train/<class>/ and val/<class>/",
    "stanford-cars": "unpack both archives, the devkit and the labels of the test images into stanford_cars/",
    "cub200": "sort the images by the published split into train/<class>/ and test/<class>/",
    "stanford-dogs": "sort the images by the published split into train/<class>/ and test/<class>/",
}


@dataclass(frozen=True)
class Place:
    """Where a known data set is, or how to get it."""

    description: str
    available: bool
    how_to_get: str
    source: Callable[[], Source] | None  # None when it is not available


def default_data_dir() -> Path | None:
    """The folder named by CONDENSE_DATA, or None when that is not set."""
    value = os.environ.get("CONDENSE_DATA")
    return Path(value).expanduser() if value else None


def folder(data_dir: str | os.PathLike[str] | None) -> Path | None:
    """The data directory given, else the default one.

    Raises:
        BadInput: when it is not a folder.
    """
    chosen = Path(data_dir).expanduser() if data_dir is not None else default_data_dir()
    if chosen is not None and not chosen.is_dir():
        reason = "is a file" if chosen.exists() else "does not exist"
        raise BadInput(f"the data directory {chosen} {reason}; give a folder with --data-dir or CONDENSE_DATA")
    return chosen


def source(base: str, data_dir: Path | None, cache: Path) -> Source:
    """The source that a name or a path stands for.

    Raises:
        UnknownName: when it is neither known nor found.
        BadInput: when it is known and not there, or there and not a data set.
    """
    if base in FACTS:
        place = find(base, data_dir, cache)
        if place.source is None:
            raise BadInput(f"the data set {base} is not on this machine; {place.how_to_get}")
        return place.source()
    if data_dir is not None and os.sep not in base and (data_dir / base).exists():
        return layouts.source(data_dir / base, base)
    path = Path(base).expanduser()
    if path.exists():
        return layouts.source(path, path.resolve().name)
    if os.sep in base:
        raise BadInput(f"there is no folder {base}; give a folder of images or Parquet files, or a known name")
    beside = [entry.name for entry in data_dir.iterdir() if entry.is_dir()] if data_dir is not None else []
    raise UnknownName("data set", base, {*FACTS, *beside})


def find(name: str, data_dir: Path | None, cache: Path) -> Place:
    """Looks for a known data set without reading or downloading anything."""
    if name == "digits":
        # Never taken from the data directory: a benchmark's `digits` must mean one thing.
        return Place("scikit-learn", True, "", digits.source)
    downloads = cache / "downloads"
    if name in torchvision.SETS:
        for root in (data_dir / name, data_dir, downloads) if data_dir else (downloads,):
            if torchvision.present(name, root):
                return Place(f"torchvision files in {root}", True, "", partial(torchvision.source, name, root))
    for place in (data_dir / name if data_dir else None, _STANDARD.get(name)):
        if place is not None and place.exists():
            how = "" if place.is_dir() else f"{place} is a file; replace it by a folder with the data set"
            return Place(str(place), place.is_dir(), how, partial(layouts.source, place, name))
    if name not in torchvision.SETS:
        how = f"{_BY_HAND[name]} ({FACTS[name].homepage}) as folder {name} of the data directory (CONDENSE_DATA)"
        return Place("data directory", False, how, None)
    if os.environ.get("CONDENSE_DOWNLOAD") == "1":
        how = "torchvision downloads it at the first use"
        return Place("torchvision", False, how, partial(torchvision.download, name, downloads))
    how = f"set CONDENSE_DOWNLOAD=1 to let torchvision download it into {downloads}, or put its files into a folder "
    how += f"{name} of the data directory (CONDENSE_DATA)"
    if name in _BY_HAND:
        how += f", {_BY_HAND[name]}"
    return Place("torchvision", False, how, None)
