"""From a source and a parsed name to a data set: held in memory, memory-mapped from the cache, or decoded on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from condense import files
from condense.data import cache
from condense.data.announce import announced
from condense.data.decode import DecodedPixels, Form, chunks, form_of
from condense.data.fingerprint import Fingerprint
from condense.data.names import Request, class_indices
from condense.data.pixels import ArrayPixels
from condense.data.sources import Contents, Part, Source, content
from condense.data.statistics import Channels, ChannelStatistics
from condense.data.stored import Stored, StoredPart
from condense.errors import BadInput, DamagedFile

LIMIT_BYTES = 4 << 30  # a larger set, decoded, is not kept on disk a second time
_SAMPLE = 10_000  # images that statistics of such a set are computed on


def stored(source: Source, request: Request, root: Path) -> tuple[Stored, tuple[str, ...]]:
    """The pixels of a source at the requested size, and all of its class names.

    A set too large to cache whole is first cut down to the requested classes, and may then be small enough; otherwise
    all classes are stored once and every subset shares them. `Stored.classes` tells which of the two it was.
    """
    if source.key is None:
        contents = _read(source)
        return _in_memory(contents, form_of(contents, request.size)), contents.classes
    place = cache.entry(root, source.name, {"source": dict(source.key), "size": request.size})
    if (found := _found(place)) is not None:
        return found, found.classes
    contents = _read(source)
    form = form_of(contents, request.size)
    if _decoded_bytes(contents, form) < LIMIT_BYTES:
        return place.build(contents, form), contents.classes
    chosen: Sequence[int] = range(len(contents.classes))
    if request.classes is not None:
        chosen = class_indices(request.classes, contents.classes)
    part = restrict(contents, chosen)
    place = cache.entry(root, source.name, {**place.key, "classes": list(chosen)})
    if _decoded_bytes(part, form) >= LIMIT_BYTES:
        return _on_demand(part, form, place), contents.classes
    return _found(place) or place.build(part, form), contents.classes


def restrict(contents: Contents, classes: Sequence[int]) -> Contents:
    """The images of some classes, given by ascending index, under labels 0, 1, ..."""
    if len(classes) == len(contents.classes):
        return contents
    names = tuple(contents.classes[index] for index in classes)
    train, test = (part.select(*rows_of(part.labels, classes)) for part in (contents.train, contents.test))
    return Contents(train, test, names)


def rows_of(labels: NDArray[np.int64], classes: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(indices of the images of some classes, their labels as 0, 1, ... in the order of `classes`)."""
    rows = np.flatnonzero(np.isin(labels, classes))
    return rows, np.searchsorted(classes, labels[rows]).astype(np.int64)


def _read(source: Source) -> Contents:
    contents = source.read()
    for split, part in (("training", contents.train), ("test", contents.test)):
        if not len(part.labels):
            raise BadInput(f"{source.name}: the {split} split is empty; put labelled images there")
    return contents


def _found(place: cache.Entry) -> Stored | None:
    try:
        return place.open()
    except DamagedFile:
        return None  # `build` looks again under the lock, says so, and decodes anew


def _decoded_bytes(contents: Contents, form: Form) -> int:
    return (len(contents.train.labels) + len(contents.test.labels)) * int(np.prod(form.shape))


def _in_memory(contents: Contents, form: Form) -> Stored:
    statistics = ChannelStatistics(form.shape[0])
    resized = False
    parts = []
    for part in (contents.train, contents.test):
        decoded = list(chunks(part, form))
        images = np.concatenate([chunk.images for chunk in decoded])
        resized |= any(chunk.resized for chunk in decoded)
        mark = Fingerprint(part.labels, contents.classes, form.shape)
        mark.update(images)
        if part is contents.train:
            statistics.update(images)
        parts.append(StoredPart(ArrayPixels(torch.from_numpy(images)), torch.from_numpy(part.labels), mark.hexdigest()))
    return Stored(parts[0], parts[1], contents.classes, *statistics.result(), resized)


def _on_demand(contents: Contents, form: Form, place: cache.Entry) -> Stored:
    """Fingerprints over the encoded images and statistics of a sample, found once and kept in a small file."""
    parts = (contents.train, contents.test)
    index = place.folder.with_suffix(".json")
    with files.lock(index):
        facts = _index(index)
        if facts is None:
            mean, std = _sampled_statistics(contents.train, form)
            with announced(f"reading {place.name} once", sum(len(part.labels) for part in parts)) as advance:
                marks = [_encoded_fingerprint(part, contents.classes, form, advance) for part in parts]
            facts = {"mean": mean, "std": std, "fingerprints": marks}
            files.write_json(index, facts)
    found = []
    for part, mark in zip(parts, facts["fingerprints"], strict=True):
        pixels = DecodedPixels(part, form, torch.device("cpu"))
        found.append(StoredPart(pixels, torch.from_numpy(part.labels), mark))
    return Stored(found[0], found[1], contents.classes, tuple(facts["mean"]), tuple(facts["std"]), form.fit)


def _index(path: Path) -> dict[str, Any] | None:
    try:
        return dict(files.read_json(path)) if path.is_file() else None
    except DamagedFile:
        return None  # it is found again from the images


def _encoded_fingerprint(part: Part, classes: Sequence[str], form: Form, advance: Callable[[int], None]) -> str:
    mark = Fingerprint(part.labels, classes, form.shape, of="encoded images")
    for row in range(len(part.labels)):
        mark.update_encoded(content(part.fetch([row])[0]))
        advance(1)
    return mark.hexdigest()


def _sampled_statistics(train: Part, form: Form) -> tuple[Channels, Channels]:
    count = len(train.labels)
    rows = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64))
    statistics = ChannelStatistics(form.shape[0])
    for chunk in chunks(train.select(rows, train.labels[rows]), form):
        statistics.update(chunk.images)
    return statistics.result()
