"""Parquet folders in the layout of the Hugging Face Hub."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from condense.data import load, opening
from condense.errors import BadInput, CondenseError, DamagedFile, Unreadable


def expected(make: SimpleNamespace, seed: int) -> torch.Tensor:
    return torch.from_numpy(make.colour(seed)).permute(2, 0, 1)


def test_shards_are_read_in_order_with_the_class_names_of_the_schema(
    parquet_folder: Path, make: SimpleNamespace
) -> None:
    dataset = load(str(parquet_folder))
    assert dataset.name == "shards"
    assert dataset.classes == ("cat", "dog")
    assert dataset.train.labels.tolist() == [0, 1, 0, 1, 1, 0, 0, 1]
    assert dataset.test.labels.tolist() == [1, 0, 1, 0]
    for row in range(8):
        assert torch.equal(dataset.train.take([row])[0], expected(make, row))
    assert torch.equal(dataset.test.take([3])[0], expected(make, 11))


def test_decoding_on_demand_gives_the_same_images(
    parquet_folder: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    cached = load(str(parquet_folder), cache_dir=own_cache / "cached")
    monkeypatch.setattr(opening, "LIMIT_BYTES", 1)
    dataset = load(str(parquet_folder))
    indices = [7, 0, 5, 0, 2]
    assert torch.equal(dataset.train.take(indices), cached.train.take(indices))
    assert torch.equal(dataset.train.subset([6, 1]).take([1, 0]), cached.train.take([1, 6]))
    assert dataset.train.take([]).shape == (0, 3, 6, 6)
    assert dataset.train.labels.tolist() == cached.train.labels.tolist()
    assert dataset.mean == cached.mean
    assert not list(own_cache.glob("data/**/*.npy"))
    again = load(str(parquet_folder))
    assert again.fingerprint == dataset.fingerprint


@pytest.mark.parametrize("place", ["data", "plain_text"])
def test_shards_may_lie_in_a_folder_of_their_own(tmp_path: Path, make: SimpleNamespace, place: str) -> None:
    images = [make.encoded(make.colour(seed)) for seed in range(2)]
    make.shard(tmp_path / "set" / place / "train.parquet", images, [0, 1])
    make.shard(tmp_path / "set" / place / "validation-00000-of-00001.parquet", images, [0, 1])
    assert len(load(str(tmp_path / "set")).test) == 2


def test_two_configurations_in_one_folder_are_told_apart_by_the_user(tmp_path: Path, make: SimpleNamespace) -> None:
    for place in ("coarse", "fine"):
        for split in ("train", "test"):
            make.shard(tmp_path / place / f"{split}.parquet", [make.encoded(make.colour(0))], [0], ("cat",))
    with pytest.raises(BadInput, match=r"holds several Parquet data sets \(coarse, fine\); give the path of one"):
        load(str(tmp_path))
    assert load(str(tmp_path / "fine")).classes == ("cat",)


def test_columns_are_found_by_name_where_the_schema_says_nothing(tmp_path: Path, make: SimpleNamespace) -> None:
    images = [make.encoded(make.colour(seed)) for seed in range(3)]
    for split in ("train", "test"):
        make.shard(tmp_path / f"{split}.parquet", images, [0, 2, 1], None, columns=("img", "fine_label"))
    dataset = load(str(tmp_path))
    assert dataset.classes == ("0", "1", "2")
    assert dataset.train.labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2], r"train.parquet, column 'label': labels must lie in \[0, 2\), found 0 to 2"),
        ([0, -1], "found -1 to 0"),
        (["cat", "dog"], "train.parquet: column 'label' must hold whole numbers, is string"),
        ([0.0, 1.0], "must hold whole numbers, is double"),
        ([0, None], "column 'label' has 1 empty places; label every image"),
        ([0, 0], "class 'dog' has no training images"),
    ],
)
def test_wrong_labels_are_named(tmp_path: Path, make: SimpleNamespace, labels: list[object], message: str) -> None:
    images = [make.encoded(make.colour(seed)) for seed in range(2)]
    make.shard(tmp_path / "train.parquet", images, labels)
    make.shard(tmp_path / "test.parquet", images, [0, 1])
    with pytest.raises(BadInput, match=message):
        load(str(tmp_path))


@pytest.mark.parametrize(("split", "called"), [("train", "training"), ("test", "test")])
def test_an_empty_split_is_named(tmp_path: Path, make: SimpleNamespace, split: str, called: str) -> None:
    images = [make.encoded(make.colour(seed)) for seed in range(2)]
    for name in ("train", "test"):
        count = 0 if name == split else 2
        make.shard(tmp_path / f"{name}.parquet", images[:count], pa.array([0, 1][:count], pa.int64()))
    with pytest.raises(BadInput, match=f"the {called} split is empty"):
        load(str(tmp_path))


def test_a_missing_test_split_is_named(tmp_path: Path, make: SimpleNamespace) -> None:
    make.shard(tmp_path / "train.parquet", [make.encoded(make.colour(0))], [0], ("cat",))
    with pytest.raises(BadInput, match=r"has no test split; put test-\*.parquet"):
        load(str(tmp_path))


def test_a_missing_shard_is_counted(parquet_folder: Path) -> None:
    (parquet_folder / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(BadInput, match=r"holds 1 of 2 train shards"):
        load(str(parquet_folder))


@pytest.mark.parametrize("kept", [0, 3, 100, 600])
def test_a_truncated_shard_is_named(parquet_folder: Path, kept: int) -> None:
    path = parquet_folder / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedFile, match=r"train-00001-of-00002.parquet: damaged file"):
        load(str(parquet_folder))


def test_a_damaged_page_is_refused_and_not_decoded_to_something_else(parquet_folder: Path) -> None:
    path = parquet_folder / "train-00000-of-00002.parquet"
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(bytes(data))
    with pytest.raises(CondenseError, match=r"train-00000-of-00002.parquet"):
        load(str(parquet_folder))


def test_a_shard_that_the_system_fails_to_read_is_not_called_damaged(
    parquet_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(pq.ParquetFile, "read", fail)
    with pytest.raises(Unreadable, match=r"\.parquet cannot be read \(Input/output error\); see to its place"):
        load(str(parquet_folder))


def test_a_corrupt_image_is_named_by_file_and_row(tmp_path: Path, make: SimpleNamespace) -> None:
    good = make.encoded(make.colour(0))
    make.shard(tmp_path / "train-00000-of-00002.parquet", [good, good], [0, 1])
    make.shard(tmp_path / "train-00001-of-00002.parquet", [good, good, good, good[:60]], [0, 1, 0, 1])
    make.shard(tmp_path / "test.parquet", [good], [0])
    with pytest.raises(BadInput, match=r"row 3 of .*train-00001-of-00002.parquet cannot be decoded"):
        load(str(tmp_path))


def test_images_by_reference_are_refused(tmp_path: Path, make: SimpleNamespace) -> None:
    for split in ("train", "test"):
        make.shard(tmp_path / f"{split}.parquet", [None], [0], ("cat",))
    with pytest.raises(BadInput, match=r"row 0 of .*train.parquet has no bytes"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"label": [0]}, "has no column 'image', only label"),
        ({"image": [{"bytes": b"", "path": ""}]}, "has no column 'label', only image"),
        ({"image": [b"x"], "label": [0]}, "column 'image' must be a struct of bytes and path, is binary"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, table: dict[str, list[object]], message: str) -> None:
    for split in ("train", "test"):
        pq.write_table(pa.table(table), tmp_path / f"{split}.parquet")
    with pytest.raises(BadInput, match=message):
        load(str(tmp_path))


IMAGE = b"no picture"
GOOD = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def written(folder: Path, split: str, images: pa.Array | None, labels: list[int], features: object = None) -> Path:
    """One shard as other software may write it."""
    table = pa.table({"label": labels} | ({} if images is None else {"image": images}))
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    folder.mkdir(exist_ok=True)
    pq.write_table(table, folder / f"{split}.parquet")
    return folder


def embedded(count: int, kind: pa.DataType = GOOD, content: object = IMAGE) -> pa.Array:
    return pa.array([{"bytes": content, "path": None}] * count, kind)


@pytest.mark.parametrize(
    "images",
    [
        embedded(2, pa.struct({"bytes": pa.string(), "path": pa.string()}), "text"),
        embedded(2, pa.struct({"bytes": pa.int64(), "path": pa.string()}), 5),
        pa.array([IMAGE] * 2, pa.binary()),
        None,
    ],
)
@pytest.mark.parametrize("split", ["train-1", "test"])
def test_every_shard_has_a_column_of_images(tmp_path: Path, split: str, images: pa.Array | None) -> None:
    for name in ("train-0", "train-1", "test"):
        written(tmp_path / "set", name, embedded(2), [0, 1])
    written(tmp_path / "set", split, images, [0, 1])
    with pytest.raises(BadInput, match=rf"{split}\.parquet.* (has no column|must be a struct of bytes and path)"):
        load(str(tmp_path / "set"))


@pytest.mark.parametrize("names", [5, [1, 2], {"a": 1}])
def test_class_names_are_a_list_of_texts(tmp_path: Path, names: object) -> None:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    for split in ("train", "test"):
        written(tmp_path / "set", split, embedded(2), [0, 1], features)
    with pytest.raises(BadInput, match="class names of 'label' must be a list of texts"):
        load(str(tmp_path / "set"))


def test_a_description_of_columns_that_is_none_leaves_the_names_of_the_columns(tmp_path: Path) -> None:
    for split in ("train", "test"):
        written(tmp_path / "set", split, embedded(2), [0, 1], ["image", "label"])
    with pytest.raises(BadInput, match="cannot be decoded"):  # so the columns were found
        load(str(tmp_path / "set"))


def test_a_label_without_a_name_is_bounded_by_the_images(tmp_path: Path) -> None:
    written(tmp_path / "set", "train", embedded(2), [0, 400_000_000])
    written(tmp_path / "set", "test", embedded(2), [0, 1])
    with pytest.raises(BadInput, match="has 2 training images and the label 400000000"):
        load(str(tmp_path / "set"))
