"""The idx files of MNIST and its successors."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from condense.data import load, locate
from condense.data.sources import idx
from condense.errors import BadInput, DamagedFile


def test_the_four_files_are_a_data_set(idx_folder: Path) -> None:
    dataset = load(str(idx_folder))
    assert dataset.shape == (1, 5, 4)
    assert dataset.classes == ("0", "1", "2")
    assert dataset.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    images = idx.parse(idx_folder / "train-images-idx3-ubyte.gz")
    assert torch.equal(dataset.train.take(range(6))[:, 0], torch.from_numpy(images.copy()))


def test_unzipped_files_under_the_other_spelling_give_the_same_data(idx_folder: Path) -> None:
    before = load(str(idx_folder)).fingerprint
    for path in list(idx_folder.iterdir()):
        plain = path.with_name(path.name.removesuffix(".gz").replace("-idx", ".idx"))
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert load(str(idx_folder)).fingerprint == before


def test_numbers_are_big_endian_and_the_last_dimension_runs_fastest(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
    assert idx.parse(path).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_missing_file_is_named(idx_folder: Path) -> None:
    (idx_folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(BadInput, match=r"lacks t10k-labels-idx1-ubyte.gz \(or without .gz\)"):
        load(str(idx_folder))


def test_a_truncated_file_is_named(idx_folder: Path, make: SimpleNamespace) -> None:
    path = idx_folder / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    cut = gzip.compress(gzip.decompress(whole)[:-1])
    for content in (whole[: len(whole) // 2], whole[:4], b"", cut, gzip.compress(b"\x00\x00\x08\x03\x00"), b"no gzip"):
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match=r"train-images-idx3-ubyte.gz: damaged file"):
            load(str(idx_folder))


def test_another_number_of_labels_than_images_is_refused(idx_folder: Path, make: SimpleNamespace) -> None:
    labels = make.idx(np.zeros(5, np.uint8))
    (idx_folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    with pytest.raises(BadInput, match=r"\(6, 5, 4\) images and \(5,\) labels"):
        load(str(idx_folder))


def test_a_known_set_takes_its_published_names_and_statistics(idx_folder: Path) -> None:
    idx_folder.rename(idx_folder.parent / "fashion-mnist")
    dataset = load("fashion-mnist[0-2]", data_dir=idx_folder.parent)
    assert dataset.classes == ("T-shirt/top", "Trouser", "Pullover")
    assert dataset.mean == (0.2861,)
    assert dataset.licence == "MIT"


def test_a_label_beyond_the_published_classes_is_named(idx_folder: Path, make: SimpleNamespace) -> None:
    labels = make.idx(np.array([0, 1, 2, 10, 1, 2], np.uint8))
    (idx_folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    idx_folder.rename(idx_folder.parent / "mnist")
    with pytest.raises(BadInput, match=r"train-labels-idx1-ubyte.gz: labels must lie in \[0, 10\), found 0 to 10"):
        load("mnist", data_dir=idx_folder.parent)


def test_the_standard_place_is_looked_in_after_the_data_directory(
    idx_folder: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(locate, "_STANDARD", {"fashion-mnist": idx_folder})
    assert locate.find("fashion-mnist", None, own_cache).description == str(idx_folder)
    (tmp_path / "given" / "fashion-mnist").mkdir(parents=True)
    place = locate.find("fashion-mnist", tmp_path / "given", own_cache)
    assert place.description == str(tmp_path / "given" / "fashion-mnist")
