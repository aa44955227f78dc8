"""Decoded data sets on disk: written once, memory-mapped afterwards.

An entry is a folder `<root>/data/<name>-<key>` with `train.npy` and `test.npy` (uint8, (N, C, H, W)),
`labels.safetensors` and `entry.json`. It appears whole or not at all; the key covers the source's files, so a changed
source is cached anew.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from condense import disk, files
from condense.data.announce import announced
from condense.data.decode import Form, chunks
from condense.data.fingerprint import Fingerprint
from condense.data.pixels import ArrayPixels
from condense.data.sources import Contents
from condense.data.statistics import ChannelStatistics
from condense.data.stored import Stored, StoredPart
from condense.errors import BadInput, DamagedFile
from condense.identity import digest

VERSION = 1  # raised when an entry's layout, the fingerprint or the decoding changes
_PARTS = ("train", "test")
_FACTS = "entry.json"
_KEY_DIGITS = 16  # of the digest of the key, in the name of a folder


def root(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The cache folder: the one given, else CONDENSE_CACHE, else the user's cache folder of this system."""
    chosen = cache_dir or os.environ.get("CONDENSE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("condense"))


@dataclass(frozen=True)
class Entry:
    """The place of one decoded data set in the cache."""

    folder: Path
    name: str
    key: Mapping[str, Any]

    def open(self) -> Stored | None:
        """The stored data set with its arrays memory-mapped, or None when nothing is stored.

        Raises:
            DamagedFile: naming the file that is missing, truncated, or of another content than was written.
        """
        if not self.folder.is_dir() or _is_unsealed(self.folder):
            return None
        return _opened(self.folder)

    def build(self, contents: Contents, form: Form) -> Stored:
        """Decodes and stores the data set; of several processes that ask at once, one does it and the others wait.

        Raises:
            BadInput: when an image cannot be decoded, or the cache cannot be written.
        """
        with files.lock(self.folder):
            try:
                if (stored := self.open()) is not None:
                    return stored
            except DamagedFile as error:
                print(f"condense: {error}; decoding it again", file=sys.stderr)
            try:
                with files.staged_directory(self.folder, replace_existing=True) as staging:
                    _write(staging, self, contents, form)
            except OSError as error:
                reason = f"cannot cache {self.name} in {self.folder.parent} ({error.strerror or error})"
                raise BadInput(f"{reason}; make room there, or set CONDENSE_CACHE to another folder") from error
            return _opened(self.folder)


def entry(cache: Path, name: str, key: Mapping[str, Any]) -> Entry:
    """The entry for data called `name` whose source files, size and classes are summed up in `key`."""
    full = {"version": VERSION, **key}
    return Entry(cache / "data" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}-{digest(full)[:_KEY_DIGITS]}", name, full)


def entries(cache: Path) -> list[Path]:
    """The folders of all stored data sets."""
    return sorted(path.parent for path in (cache / "data").glob(f"*/{_FACTS}"))


def verify(folder: Path) -> list[str]:
    """What is wrong with an entry, naming the file; reads every byte, where opening checks sizes and labels only."""
    try:
        if _is_unsealed(folder):
            return []  # it counts as absent
        _opened(folder)
        expected = _facts(folder)["sha256"]
    except DamagedFile as error:
        return [str(error)]
    return [
        f"{folder / name}: content differs from what was written; remove {folder}"
        for name, content in sorted(expected.items())
        if files.sha256(folder / name) != content
    ]


def remove(folder: Path) -> None:
    """Deletes an entry; it is decoded anew when it is next asked for."""
    with files.lock(folder):
        disk.remove_tree(folder)


def _write(staging: Path, place: Entry, contents: Contents, form: Form) -> None:
    parts = {"train": contents.train, "test": contents.test}
    total = sum(len(part.labels) for part in parts.values())
    statistics = ChannelStatistics(form.shape[0])
    fingerprints = {}
    resized = False
    with announced(f"decoding {place.name} once", total) as advance:
        for name, part in parts.items():
            mark = Fingerprint(part.labels, contents.classes, form.shape)
            path = staging / f"{name}.npy"
            # Written as a stream: a full disk raises here, where writing through a memory map would kill the process.
            with disk.open_new(path) as handle:
                disk.write(handle, _header(len(part.labels), form.shape))
                for chunk in chunks(part, form):
                    disk.write(handle, chunk.images.tobytes())
                    mark.update(chunk.images)
                    resized |= chunk.resized
                    if name == "train":
                        statistics.update(chunk.images)
                    advance(len(chunk.images))
            disk.fsync(path)
            fingerprints[name] = mark.hexdigest()
    labels = {name: torch.from_numpy(part.labels) for name, part in parts.items()}
    files.write_tensors(staging / "labels.safetensors", labels)
    mean, std = statistics.result()
    written = ("train.npy", "test.npy", "labels.safetensors")
    facts = {
        "key": dict(place.key),
        "name": place.name,
        "classes": contents.classes,
        "shape": form.shape,
        "counts": {name: len(part.labels) for name, part in parts.items()},
        "fingerprints": fingerprints,
        "resized": resized,
        "mean": mean,
        "std": std,
        "sha256": {name: files.sha256(staging / name) for name in written},
    }
    files.write_json(staging / _FACTS, {**facts, "digest": digest(facts)})


def _is_unsealed(folder: Path) -> bool:
    """Whether the description has no seal, as those of older versions: nobody can tell whether such an entry is sound.

    Raises:
        DamagedFile: when there is no description.
    """
    path = folder / _FACTS
    if not path.is_file():
        raise DamagedFile(path, "missing")
    facts = files.read_json(path)
    return isinstance(facts, dict) and "digest" not in facts


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / _FACTS
    facts = files.read_json(path)
    try:
        recorded = facts.pop("digest")
        sound = recorded == digest(facts) and folder.name.endswith(digest(facts["key"])[:_KEY_DIGITS])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, f"not the description of a data set: {error!r}") from error
    if not sound:
        raise DamagedFile(path, "its content is not what was written")
    return dict(facts)


def _opened(folder: Path) -> Stored:
    facts = _facts(folder)
    try:
        shape = cast("tuple[int, int, int]", tuple(facts["shape"]))
        content = files.sha256(folder / "labels.safetensors")
        if content != facts["sha256"]["labels.safetensors"]:
            raise DamagedFile(folder / "labels.safetensors", "its SHA-256 is not the one in entry.json")
        labels = files.read_tensors(folder / "labels.safetensors")
        parts = {}
        for name in _PARTS:
            images = _mapped(folder / f"{name}.npy", (facts["counts"][name], *shape))
            pixels = ArrayPixels(torch.from_numpy(images))
            parts[name] = StoredPart(pixels, labels[name], facts["fingerprints"][name])
        mean, std = tuple(facts["mean"]), tuple(facts["std"])
        return Stored(parts["train"], parts["test"], tuple(facts["classes"]), mean, std, facts["resized"])
    except FileNotFoundError as error:
        raise DamagedFile(folder, f"{Path(error.filename).name} is missing") from error


def _header(count: int, shape: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(stream, facts)
    return stream.getvalue()


def _mapped(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        # Copy on write, because PyTorch warns of read-only arrays; no writer ever gets hold of it.
        images = np.load(path, mmap_mode="c")
    except (ValueError, EOFError) as error:
        raise DamagedFile(path, str(error)) from error
    if images.shape != shape or images.dtype != np.uint8:
        raise DamagedFile(path, f"an array of {images.shape} where {shape} was written")
    return cast("NDArray[np.uint8]", np.asarray(images))
