"""Parquet folders in the layout of the Hugging Face Hub: shards of columns image {bytes, path} and label."""

from __future__ import annotations

import json
import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from condense.data.sources import Contents, Encoded, Part, Source, file_facts
from condense.data.split import checked_labels
from condense.errors import BadInput, DamagedFile, Unreadable

_TESTS = ("test", "val", "validation", "valid")
_SHARD = re.compile(r"(?P<split>train|test|val|validation|valid)(?:[-_.].*?)?(?:-of-(?P<count>\d+))?(?:-\w+)?\.parquet")
_IMAGE_NAMES, _LABEL_NAMES = ("image", "img"), ("label", "labels", "fine_label")
_KEPT_GROUPS = 2  # row groups in memory: reading in order crosses from one to the next


def matches(folder: Path) -> bool:
    """Whether the folder, its data/ folder, or its only sub-folder with shards, holds training shards."""
    return _place(folder) is not None


def source(folder: Path, name: str) -> Source:
    """The data set of the shards `train-*.parquet` and `test-*.parquet` (or validation).

    Raises:
        BadInput: when a split or a shard is missing.
    """
    place = _place(folder)
    assert place is not None  # `matches` was asked
    train = _shards(place, "train")
    test = next((found for split in _TESTS if (found := _shards(place, split))), None)
    if test is None:
        raise BadInput(f"{place} has no test split; put test-*.parquet or validation-*.parquet beside train-*.parquet")
    key = {"kind": "parquet", "files": file_facts([*train, *test], place)}
    return Source(name, key, lambda: _read(train, test))


@dataclass(frozen=True)
class _Columns:
    image: str
    label: str
    classes: tuple[str, ...] | None  # from the schema metadata


class _Rows:
    """Random access to the encoded images of several shards, by row group."""

    def __init__(self, paths: Sequence[Path], column: str):
        self._column = column
        self._groups: list[tuple[Path, int]] = []
        self._starts = [0]  # the first row of each group, and the end
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._files = {path: _opened(path) for path in paths}
        for path, file in self._files.items():
            for group in range(file.num_row_groups):
                self._groups.append((path, group))
                self._starts.append(self._starts[-1] + file.metadata.row_group(group).num_rows)

    def fetch(self, indices: Sequence[int]) -> list[Encoded]:
        """The bytes of the images at `indices`; fastest when they ascend."""
        images: list[Encoded] = []
        with self._lock:
            for index in indices:
                group = bisect_right(self._starts, index) - 1
                value = self._bytes(group)[index - self._starts[group]].as_py()
                if value is None:
                    raise BadInput(f"{self.describe(index)} has no bytes; write the Parquet files with embedded images")
                images.append(value)
        return images

    def describe(self, index: int) -> str:
        """The file and the row in it."""
        group = bisect_right(self._starts, index) - 1
        path = self._groups[group][0]
        first = next(start for start, (owner, _) in zip(self._starts, self._groups, strict=False) if owner == path)
        return f"row {index - first} of {path}"

    def _bytes(self, group: int) -> Any:
        if group not in self._kept:
            path, number = self._groups[group]
            table = _guarded(path, lambda: self._files[path].read_row_group(number, columns=[self._column]))
            self._kept[group] = table.column(self._column).combine_chunks().field("bytes")
            if len(self._kept) > _KEPT_GROUPS:
                self._kept.popitem(last=False)
        return self._kept[group]


def _read(train: Sequence[Path], test: Sequence[Path]) -> Contents:
    columns = _columns(train[0])
    for path in (*train[1:], *test):
        _require_images(path, columns.image)
    stated = {path: _labels(path, columns.label) for path in (*train, *test)}
    classes = columns.classes
    if classes is None:
        classes = _numbered(train, stated)
    for path, labels in stated.items():
        try:
            checked_labels(labels, len(classes))
        except BadInput as error:
            raise BadInput(f"{path}, column {columns.label!r}: {error}") from error
    return Contents(_part(train, columns, stated), _part(test, columns, stated), classes)


def _numbered(train: Sequence[Path], stated: Mapping[Path, NDArray[np.int64]]) -> tuple[str, ...]:
    """Class names where the files state none: a training split has an image of every class, so no more than images."""
    most = max((int(part.max()) for part in stated.values() if part.size), default=0)
    images = sum(len(stated[path]) for path in train)
    if most >= max(1, images):
        raise BadInput(
            f"{train[0].parent} has {images} training images and the label {most}, and states no class names; encode "
            "the classes as 0, 1, ..., or state their names"
        )
    return tuple(map(str, range(1 + most)))


def _part(paths: Sequence[Path], columns: _Columns, stated: Mapping[Path, NDArray[np.int64]]) -> Part:
    rows = _Rows(paths, columns.image)
    return Part(np.concatenate([stated[path] for path in paths]), rows.fetch, rows.describe)


def _columns(path: Path) -> _Columns:
    schema = _opened(path).schema_arrow
    features = _features(schema.metadata or {})
    image = _named(schema, features, "Image", _IMAGE_NAMES)
    label = _named(schema, features, "ClassLabel", _LABEL_NAMES)
    if image is None or label is None:
        what = "image" if image is None else "label"
        raise BadInput(f"{path} has no column {what!r}, only {', '.join(schema.names)}; rename the column")
    _require_images(path, image)
    names = features.get(label, {}).get("names")
    if names and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise BadInput(f"{path}: the class names of {label!r} must be a list of texts, found {str(names)[:60]}")
    return _Columns(image, label, tuple(names) if names else None)


def _require_images(path: Path, column: str) -> None:
    """Refuses, with BadInput, a shard without a column of embedded image files."""
    import pyarrow as pa

    schema = _opened(path).schema_arrow
    if column not in schema.names:
        raise BadInput(f"{path} has no column {column!r}, as the first shard has; write the shards alike")
    kind = schema.field(column).type
    place = kind.get_field_index("bytes") if pa.types.is_struct(kind) else -1
    if place < 0 or not (
        pa.types.is_binary(kind.field(place).type) or pa.types.is_large_binary(kind.field(place).type)
    ):
        raise BadInput(
            f"{path}: column {column!r} must be a struct of bytes and path, is {kind}; embed the image files"
        )


def _features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        features = None
    if not isinstance(features, dict):
        return {}  # written by other software: columns are then found by name
    return {name: fact for name, fact in features.items() if isinstance(fact, dict)}


def _named(schema: Any, features: Mapping[str, Any], kind: str, usual: Sequence[str]) -> str | None:
    declared = [name for name, fact in features.items() if fact.get("_type") == kind and name in schema.names]
    return next((name for name in usual if name in schema.names), declared[0] if declared else None)


def _labels(path: Path, column: str) -> NDArray[np.int64]:
    import pyarrow as pa

    file = _opened(path)
    if column not in file.schema_arrow.names:
        raise BadInput(f"{path} has no column {column!r}, as the first shard has; write the shards alike")
    kind = file.schema_arrow.field(column).type
    if not pa.types.is_integer(kind):
        raise BadInput(f"{path}: column {column!r} must hold whole numbers, is {kind}; encode the classes as 0, 1, ...")
    values = _guarded(path, lambda: file.read(columns=[column])).column(column)
    if values.null_count:
        raise BadInput(f"{path}: column {column!r} has {values.null_count} empty places; label every image")
    labels: NDArray[np.int64] = values.to_numpy().astype(np.int64)
    return labels


def _opened(path: Path) -> Any:
    import pyarrow.parquet

    return _guarded(path, lambda: pyarrow.parquet.ParquetFile(path))


def _guarded(path: Path, action: Any) -> Any:
    import pyarrow as pa

    try:
        return action()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise Unreadable(path, error) from error  # of a damaged file Arrow's errors have no number
        raise DamagedFile(path, str(error).splitlines()[0]) from error


def _place(folder: Path) -> Path | None:
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    holding = [place for place in (folder, *inner) if _shards(place, "train", complete=False)]
    if len(holding) > 1 and holding[0] != folder:
        found = ", ".join(place.name for place in holding)
        raise BadInput(f"{folder} holds several Parquet data sets ({found}); give the path of one of them")
    return holding[0] if holding else None


def _shards(place: Path, split: str, complete: bool = True) -> list[Path]:
    found = [(path, match) for path in sorted(place.glob("*.parquet")) if (match := _SHARD.fullmatch(path.name))]
    shards = [(path, match) for path, match in found if match["split"] == split]
    announced = {int(match["count"]) for _, match in shards if match["count"]}
    if complete and announced and announced != {len(shards)}:
        raise BadInput(f"{place} holds {len(shards)} of {max(announced)} {split} shards; fetch the missing ones")
    return [path for path, _ in shards]
