"""Small data sets on disk, in each layout that `condense.data` reads."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache for each test, and no data directory but the one a test gives."""
    monkeypatch.setenv("CONDENSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CONDENSE_DATA", raising=False)
    monkeypatch.delenv("CONDENSE_DOWNLOAD", raising=False)
    return tmp_path / "cache"


def colour_image(seed: int, height: int = 6, width: int = 6) -> NDArray[np.uint8]:
    """Random pixels (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder tree of PNG images: `image_folder(per_class=3, classes=("cat", "dog"), size=(6, 6))`."""

    def write(
        name: str = "pets",
        per_class: int = 3,
        classes: tuple[str, ...] = ("cat", "dog"),
        size: tuple[int, int] = (6, 6),
        grey: bool = False,
        test: str = "test",
    ) -> Path:
        for split in ("train", test):
            for label in classes:
                folder = tmp_path / name / split / label
                folder.mkdir(parents=True)
                for index in range(per_class):
                    pixels = colour_image(hash((split == "train", classes.index(label), index)) % 2**31, *size)
                    Image.fromarray(pixels[..., 0] if grey else pixels).save(folder / f"{index}.png")
        return tmp_path / name

    return write


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """PNG bytes of an image."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_shard(
    path: Path,
    images: list[Any],
    labels: list[Any],
    names: tuple[str, ...] | None = ("cat", "dog"),
    group: int = 2,
    columns: tuple[str, str] = ("image", "label"),
) -> None:
    """One Parquet shard in the layout of the Hugging Face Hub, with row groups of `group` rows."""
    image, label = columns
    rows = [{"bytes": content, "path": f"{index}.png"} for index, content in enumerate(images)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({image: pa.array(rows, kind), label: pa.array(labels)})
    if names is not None:
        features = {image: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)


@pytest.fixture
def parquet_folder(tmp_path: Path) -> Path:
    """Two training shards of 5 and 3 images, and a test shard of 4; image i has the pixels of `colour_image(i)`."""
    folder = tmp_path / "shards"
    images = [encoded(colour_image(seed)) for seed in range(12)]
    write_shard(folder / "train-00000-of-00002.parquet", images[:5], [0, 1, 0, 1, 1])
    write_shard(folder / "train-00001-of-00002.parquet", images[5:8], [0, 0, 1])
    write_shard(folder / "test-00000-of-00001.parquet", images[8:], [1, 0, 1, 0])
    return folder


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """An idx file of bytes."""
    return b"\x00\x00\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """Six training and four test images of 5x4 pixels, gzipped, in three classes."""
    folder = tmp_path / "letters"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 6), ("t10k", 4)):
        images = rng.integers(0, 256, (count, 5, 4), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 3
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    return folder


@pytest.fixture
def make() -> SimpleNamespace:
    """The writers of this file, for tests that need files of their own."""
    return SimpleNamespace(colour=colour_image, encoded=encoded, shard=write_shard, idx=idx_bytes)
