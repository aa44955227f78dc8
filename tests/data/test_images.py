"""Folders of images."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from condense.data import load
from condense.errors import BadInput, Unreadable

Writer = Callable[..., Path]


def pixels_of(path: Path) -> torch.Tensor:
    array = np.array(Image.open(path).convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1)


def test_a_folder_tree_is_read_in_the_order_of_names(image_folder: Writer) -> None:
    folder = image_folder(size=(6, 9))
    dataset = load(str(folder))
    assert dataset.name == "pets"
    assert dataset.classes == ("cat", "dog")
    assert dataset.shape == (3, 6, 9)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.flips is True
    for row, place in ((1, "train/cat/1.png"), (5, "train/dog/2.png")):
        assert torch.equal(dataset.train.take([row])[0], pixels_of(folder / place))
    assert torch.equal(dataset.test.take([3])[0], pixels_of(folder / "test/dog/0.png"))


def test_statistics_of_an_unknown_set_are_computed_on_train_alone(image_folder: Writer) -> None:
    dataset = load(str(image_folder()))
    train = dataset.train.take(range(6)).double() / 255
    assert dataset.mean == pytest.approx(train.mean((0, 2, 3)).tolist(), abs=1e-15)  # integer sums
    assert dataset.std == pytest.approx(train.std((0, 2, 3), correction=0).tolist(), abs=1e-15)


@pytest.mark.parametrize("test", ["val", "validation", "valid"])
def test_other_names_of_the_test_split_are_found(image_folder: Writer, test: str) -> None:
    assert len(load(str(image_folder(test=test))).test) == 6


def test_grey_images_have_one_channel_and_become_colour_when_asked(image_folder: Writer) -> None:
    folder = image_folder(grey=True)
    assert load(str(folder)).shape == (1, 6, 6)
    assert load(f"{folder}+rgb").shape == (3, 6, 6)


def test_one_colour_image_makes_the_set_colour(image_folder: Writer) -> None:
    folder = image_folder(grey=True)
    Image.new("RGB", (6, 6), (9, 8, 7)).save(folder / "train/dog/2.png")
    dataset = load(str(folder))
    assert dataset.shape == (3, 6, 6)
    assert dataset.train.take([5])[0, :, 0, 0].tolist() == [9, 8, 7]
    assert torch.equal(*dataset.train.take([0])[0, :2])


def test_a_colour_test_image_among_grey_ones_is_named(image_folder: Writer) -> None:
    folder = image_folder(grey=True)
    Image.new("RGB", (6, 6)).save(folder / "test/dog/1.png")
    with pytest.raises(BadInput, match=r"test/dog/1.png is in colour and the training images are grey"):
        load(str(folder))


def test_images_of_different_sizes_need_a_size_in_the_name(image_folder: Writer) -> None:
    folder = image_folder()
    Image.new("RGB", (10, 4), (200, 0, 0)).save(folder / "train/dog/1.png")
    with pytest.raises(BadInput, match=r"train/dog/1.png is 4x10 and the first image 6x6; add a size .* @6"):
        load(str(folder))
    dataset = load(f"{folder}@4")
    assert dataset.name == "pets@4"
    assert dataset.shape == (3, 4, 4)
    assert torch.equal(
        dataset.train.take([4])[0], torch.tensor([200, 0, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 4)
    )


def test_a_size_with_another_aspect_crops_the_middle(image_folder: Writer) -> None:
    folder = image_folder(size=(4, 8))
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = 255
    Image.fromarray(wide).save(folder / "train/cat/0.png")
    assert load(f"{folder}@4").train.take([0]).min() == 255


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_a_corrupt_image_is_named_and_nothing_is_left_in_the_cache(
    image_folder: Writer, own_cache: Path, content: bytes | None
) -> None:
    folder = image_folder(size=(40, 40))
    path = folder / "train/dog/1.png"
    path.write_bytes(path.read_bytes()[:500] if content is None else content)
    with pytest.raises(BadInput, match=r"train/dog/1.png cannot be decoded .*; restore it, or remove it"):
        load(str(folder))
    assert not [left for left in own_cache.rglob("*") if left.is_dir() and left.parent.name == "data"]


@pytest.mark.parametrize("reason", [errno.EIO, errno.ENOENT])
def test_an_image_that_the_system_fails_to_read_is_no_bad_input(
    image_folder: Writer, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    folder = image_folder()
    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.name == "1.png" and path.parts[-3:-1] == ("train", "dog"):
            raise OSError(reason, os.strerror(reason))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    words = rf"train/dog/1.png cannot be read \({os.strerror(reason)}\); see to its place, then run the same command"
    with pytest.raises(Unreadable, match=words):
        load(str(folder))
    monkeypatch.setattr(Path, "read_bytes", read)
    assert len(load(str(folder)).train) == 6


def test_a_deep_image_is_refused_rather_than_clipped(image_folder: Writer) -> None:
    folder = image_folder()
    Image.fromarray(np.full((6, 6), 40_000, np.uint16)).save(folder / "train/cat/1.png")
    with pytest.raises(BadInput, match=r"train/cat/1.png has more than 8 bits a channel"):
        load(str(folder))


def test_a_class_without_images_is_named(image_folder: Writer) -> None:
    folder = image_folder()
    (folder / "train" / "ant").mkdir()
    (folder / "train" / "ant" / "notes.txt").write_text("no image")
    with pytest.raises(BadInput, match=r"class 'ant' has no images in .*train/ant; add some or remove the folder"):
        load(str(folder))


def test_a_test_class_that_is_not_trained_is_named(image_folder: Writer) -> None:
    folder = image_folder()
    (folder / "test" / "dog").rename(folder / "test" / "wolf")
    with pytest.raises(BadInput, match=r"test/wolf is a class that train/ lacks"):
        load(str(folder))


def test_a_subset_without_test_images_is_refused(image_folder: Writer) -> None:
    folder = image_folder()
    for path in (folder / "test" / "dog").iterdir():
        path.unlink()
    assert load(str(folder)).test.class_counts() == [3, 0]
    with pytest.raises(BadInput, match=r"pets\[1\]: the test split is empty"):
        load(f"{folder}[dog]")


def test_one_class_alone_is_a_data_set(image_folder: Writer) -> None:
    dataset = load(str(image_folder(classes=("cat",))))
    assert dataset.train.class_counts() == [3]


def test_a_missing_test_split_says_where_to_put_it(image_folder: Writer) -> None:
    folder = image_folder()
    (folder / "test").rename(folder / "other")
    with pytest.raises(BadInput, match=r"pets has no test split; sort labelled images into test/<class>/"):
        load(str(folder))


def test_an_empty_training_folder_says_what_it_should_hold(tmp_path: Path) -> None:
    (tmp_path / "none" / "train").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"train has no class folders"):
        load(str(tmp_path / "none"))


def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cifar10").write_text("")
    with pytest.raises(BadInput, match=r"is a file where a folder should be"):
        load(str(tmp_path / "cifar10"))
    with pytest.raises(BadInput, match=r"is a file where a folder should be"):
        load("cifar10", data_dir=tmp_path)
    with pytest.raises(BadInput, match=r"the data directory .* is a file"):
        load("cifar10", data_dir=tmp_path / "cifar10")


def test_a_folder_of_something_else_lists_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is not a data set: expected train/<class>/"):
        load(str(tmp_path))


def test_a_path_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadInput, match=r"there is no folder no/such/place"):
        load("no/such/place")


def test_a_folder_of_the_data_directory_goes_by_its_name(image_folder: Writer) -> None:
    folder = image_folder()
    dataset = load("pets[cat]", data_dir=folder.parent)
    assert dataset.name == "pets[0]"
    assert load("pets", data_dir=folder.parent).fingerprint == load(str(folder)).fingerprint


def test_a_folder_called_like_an_adapter_is_opened_as_it_is_written(image_folder: Writer) -> None:
    folder = image_folder(name="pets@3")
    assert load(str(folder)).shape == (3, 6, 6)
    assert load(f"{folder}@2").shape == (3, 2, 2)


def tiny_imagenet(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in ("n01", "n02"):
        place = folder / "train" / label / "images"
        place.mkdir(parents=True)
        (place.parent / f"{label}_boxes.txt").write_text("")
        for index in range(2):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place / f"{label}_{index}.png")
    for split in ("val", "test"):
        (folder / split / "images").mkdir(parents=True)
        for index in range(3):
            image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            image.save(folder / split / "images" / f"{split}_{index}.png")
    lines = ["val_0.png\tn02\t0\t0\t7\t7", "val_1.png\tn01\t0\t0\t7\t7", "val_2.png\tn02\t0\t0\t7\t7"]
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_tiny_imagenet_takes_its_test_labels_from_the_annotations(tmp_path: Path) -> None:
    folder = tiny_imagenet(tmp_path / "tiny")
    dataset = load(str(folder))
    assert dataset.classes == ("n01", "n02")
    assert dataset.train.labels.tolist() == [0, 0, 1, 1]
    assert dataset.test.labels.tolist() == [1, 0, 1]
    assert torch.equal(dataset.test.take([1])[0], pixels_of(folder / "val/images/val_1.png"))


@pytest.mark.parametrize(
    ("line", "message"),
    [("val_0.png\tn99\t0", "line 2: expected image, class and box"), ("no.png\tn01\t0", "line 2: there is no image")],
)
def test_wrong_annotations_are_named_by_line(tmp_path: Path, line: str, message: str) -> None:
    folder = tiny_imagenet(tmp_path / "tiny")
    (folder / "val" / "val_annotations.txt").write_text(f"val_0.png\tn01\t0\n{line}\n")
    with pytest.raises(BadInput, match=f"val_annotations.txt, {message}"):
        load(str(folder))


def test_an_unlabelled_test_folder_gives_way_to_val(image_folder: Writer) -> None:
    folder = image_folder(test="val")
    (folder / "test" / "images").mkdir(parents=True)
    Image.new("RGB", (6, 6)).save(folder / "test" / "images" / "0.png")
    assert len(load(str(folder)).test) == 6


def test_the_fingerprint_is_of_the_pixels_and_not_of_the_container(image_folder: Writer) -> None:
    folder = image_folder()
    before = load(str(folder)).fingerprint
    content = hashlib.sha256((folder / "train/cat/0.png").read_bytes()).digest()
    for path in folder.rglob("*.png"):
        Image.open(path).convert("RGB").save(path, "PNG", compress_level=0)
    assert hashlib.sha256((folder / "train/cat/0.png").read_bytes()).digest() != content
    assert load(str(folder)).fingerprint == before


@pytest.mark.parametrize("place", ["train/cat/9.png", "test/dog/9.png", "train/ant"])
def test_a_link_that_leads_nowhere_is_refused_by_name(image_folder: Writer, tmp_path: Path, place: str) -> None:
    folder = image_folder()
    (folder / place).symlink_to(tmp_path / "gone")
    with pytest.raises(BadInput, match=f"{place} is a link that leads nowhere"):
        load(str(folder))


@pytest.mark.parametrize("place", [b"train/b\xff", b"train/cat/\xff.png"])
def test_names_that_are_not_utf8_are_refused(image_folder: Writer, place: bytes) -> None:
    folder = image_folder()
    target = os.fsencode(folder) + b"/" + place
    if place.endswith(b".png"):
        shutil.copy(folder / "train" / "cat" / "0.png", target)
    else:
        os.mkdir(target)
    with pytest.raises(BadInput, match=r"\\udcff.*a name that is not UTF-8; rename it"):
        load(str(folder))


def test_annotations_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    folder = tiny_imagenet(tmp_path / "tiny")
    (folder / "val" / "val_annotations.txt").write_bytes(b"val_0.png\tn0\xff\t0\n")
    with pytest.raises(BadInput, match=r"val_annotations\.txt is not a text in UTF-8"):
        load(str(folder))
