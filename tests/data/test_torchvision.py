"""Sets that torchvision reads: its own files, and downloads only when asked."""

from __future__ import annotations

import gzip
import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from condense import _torchvision
from condense.data import known, load
from condense.data.facts import FACTS
from condense.data.sources import torchvision
from condense.errors import BadInput


def mnist_files(root: Path, make: SimpleNamespace) -> None:
    (root / "MNIST" / "raw").mkdir(parents=True)
    for prefix in ("train", "t10k"):
        images = np.random.default_rng(3).integers(0, 256, (20, 28, 28), dtype=np.uint8)
        labels = np.arange(20, dtype=np.uint8) % 10
        (root / "MNIST/raw" / f"{prefix}-images-idx3-ubyte").write_bytes(make.idx(images))
        (root / "MNIST/raw" / f"{prefix}-labels-idx1-ubyte").write_bytes(make.idx(labels))


@pytest.mark.parametrize("place", ["", "mnist"])
def test_files_of_torchvision_in_the_data_directory_are_read(tmp_path: Path, make: SimpleNamespace, place: str) -> None:
    mnist_files(tmp_path / "sets" / place, make)
    dataset = load("mnist", data_dir=tmp_path / "sets")
    assert dataset.name == "mnist"
    assert dataset.shape == (1, 28, 28)
    assert dataset.classes == tuple("0123456789")
    assert dataset.mean == (0.1307,)
    assert dataset.flips is False
    images = np.random.default_rng(3).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    assert torch.equal(dataset.train.take([4, 19])[:, 0], torch.from_numpy(images[[4, 19]]))
    assert dataset.train.labels.tolist() == [index % 10 for index in range(20)]


def test_damaged_files_of_torchvision_say_what_to_do(tmp_path: Path, make: SimpleNamespace) -> None:
    mnist_files(tmp_path, make)
    (tmp_path / "MNIST/raw/train-images-idx3-ubyte").unlink()
    with pytest.raises(BadInput, match=r"torchvision cannot read mnist in .*; remove its files there"):
        load("mnist", data_dir=tmp_path)


def test_nothing_is_downloaded_unless_asked_for(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a download was started")

    monkeypatch.setattr(torchvision, "_opened", refuse)
    message = (
        f"cifar100 is not on this machine; set CONDENSE_DOWNLOAD=1 to let torchvision download it into {own_cache}"
    )
    with pytest.raises(BadInput, match=message):
        load("cifar100")


def test_a_download_that_was_asked_for_goes_to_the_cache_and_is_then_found(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path, make: SimpleNamespace
) -> None:
    asked = []
    opened = torchvision._opened

    def fetch(name: str, root: Path, arguments: dict[str, object]) -> object:
        if not arguments.get("download"):
            return opened(name, root, arguments)
        asked.append((name, root, arguments["train"]))
        if len(asked) == 1:
            mnist_files(root, make)
        return None

    monkeypatch.setattr(torchvision, "_opened", fetch)
    monkeypatch.setenv("CONDENSE_DOWNLOAD", "1")
    downloads = own_cache / "downloads"
    assert len(load("mnist").train) == 20
    assert asked == [("mnist", downloads, True), ("mnist", downloads, False)]
    monkeypatch.delenv("CONDENSE_DOWNLOAD")
    assert len(load("mnist").train) == 20
    assert len(asked) == 2


@pytest.mark.parametrize("field", ["targets", "labels", "_labels"])
def test_labels_are_found_under_each_of_their_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: str
) -> None:
    class Foods:
        classes = tuple(f"food {index}" for index in range(101))

        def __init__(self, root: str, split: str):
            setattr(self, field, [index % 101 for index in range(202)])

        def __getitem__(self, index: int) -> tuple[Image.Image, int]:
            return Image.new("RGB", (6 + index % 2, 5), (index, 0, 0)), index % 101

    monkeypatch.setattr(_torchvision, "load", lambda part: SimpleNamespace(Food101=Foods))
    (tmp_path / "food-101").mkdir()
    (tmp_path / "food-101" / "images").write_text("")
    dataset = load("food101[0-1]@4", data_dir=tmp_path)
    assert dataset.name == "food101[0-1]@4"
    assert dataset.classes == ("food 0", "food 1")
    assert dataset.train.take([0, 1, 2, 3])[:, 0, 0, 0].tolist() == [0, 1, 101, 102]


def pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for index, name in enumerate(names):
        Image.new("RGB", (12, 9), (index, 0, 0)).save(folder / name)


def test_aircraft_are_read_from_the_files_of_torchvision(tmp_path: Path) -> None:
    data = tmp_path / "fgvc-aircraft-2013b" / "data"
    variants = [f"Model/{index}" for index in range(100)]
    pictures(data / "images", [f"{index}.jpg" for index in range(100)])
    (data / "variants.txt").write_text("\n".join(variants))
    for split in ("trainval", "test"):
        lines = [f"{index} {variant}" for index, variant in enumerate(variants)]
        (data / f"images_variant_{split}.txt").write_text("\n".join(lines))
    dataset = load("fgvc-aircraft@8", data_dir=tmp_path)
    assert dataset.classes == tuple(variants)
    assert dataset.train.labels.tolist() == list(range(100))
    assert dataset.shape == (3, 8, 8)


def test_cars_are_read_from_the_files_of_torchvision(tmp_path: Path) -> None:
    from scipy.io import savemat

    place, names = tmp_path / "stanford_cars", [f"{index:05}.png" for index in range(196)]
    (place / "devkit").mkdir(parents=True)
    record = np.array([(name, index + 1) for index, name in enumerate(names)], [("fname", "O"), ("class", "O")])
    savemat(place / "devkit/cars_train_annos.mat", {"annotations": record})
    savemat(place / "cars_test_annos_withlabels.mat", {"annotations": record})
    savemat(place / "devkit/cars_meta.mat", {"class_names": np.array([f"car {i}" for i in range(196)], dtype=object)})
    for folder in ("cars_train", "cars_test"):
        pictures(place / folder, names)
    dataset = load("stanford-cars[3,190]@8", data_dir=tmp_path)
    assert dataset.classes == ("car 3", "car 190")
    assert dataset.test.take([1])[0, 0, 0, 0] == 190


@pytest.mark.parametrize("name", ["cub200", "stanford-dogs"])
def test_sets_that_torchvision_does_not_know_are_class_folders(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"sort the images by the published split into train/<class>/"):
        load(f"{name}@8", data_dir=tmp_path)
    for split in ("train", "test"):
        for label in ("one", "two"):
            pictures(tmp_path / name / split / label, ["a.png", "b.png"])
    assert load(f"{name}@8", data_dir=tmp_path).classes == ("one", "two")


@pytest.mark.parametrize("name", sorted(torchvision.SETS))
def test_every_listed_set_exists_in_torchvision_with_these_arguments(name: str) -> None:
    entry = torchvision.SETS[name]
    signature = inspect.signature(getattr(_torchvision.load("datasets"), entry.type_name))
    for arguments in entry.arguments:
        signature.bind(root="", download=True, **arguments)
    assert name in FACTS


def test_known_sets_say_where_they_are_or_how_to_get_them(tmp_path: Path, make: SimpleNamespace) -> None:
    mnist_files(tmp_path, make)
    (tmp_path / "cifar10").write_text("a file")
    infos = {info.name: info for info in known(tmp_path)}
    assert list(infos) == list(FACTS)
    assert infos["digits"].available
    assert infos["mnist"].available
    assert infos["mnist"].how_to_get == ""
    assert not infos["cifar10"].available
    assert "is a file; replace it by a folder" in infos["cifar10"].how_to_get
    for info in infos.values():
        assert info.available == (info.how_to_get == "")
        assert info.n_classes == FACTS[info.name].n_classes


def test_published_facts_are_consistent() -> None:
    for name, facts in FACTS.items():
        assert facts.homepage.startswith("http"), name
        assert facts.licence, name
        for numbers in (facts.mean, facts.std):
            assert numbers is None or facts.shape is None or len(numbers) == facts.shape[0], name
        assert facts.classes is None or len(facts.classes) == facts.n_classes, name


def test_a_gzipped_copy_beside_the_files_is_no_concern(tmp_path: Path, make: SimpleNamespace) -> None:
    mnist_files(tmp_path, make)
    raw = tmp_path / "MNIST/raw"
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress((raw / "train-images-idx3-ubyte").read_bytes()))
    assert len(load("mnist", data_dir=tmp_path).train) == 20
