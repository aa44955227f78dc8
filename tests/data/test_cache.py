"""The cache of decoded data sets: written once, whole or not at all, checked when it is opened."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from condense import disk, files
from condense.data import cache, load, opening
from condense.data.names import Request
from condense.data.sources import Contents, Source, array_part, images
from condense.errors import BadInput

Writer = Callable[..., Path]


def folders(place: Path) -> list[str]:
    return sorted(path.name for path in (place / "data").iterdir() if path.is_dir())


def test_the_root_is_the_folder_given_else_the_variable_else_that_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cache.root(tmp_path) == tmp_path
    monkeypatch.setenv("CONDENSE_CACHE", str(tmp_path / "named"))
    assert cache.root() == tmp_path / "named"
    monkeypatch.delenv("CONDENSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "system"))
    assert cache.root() == tmp_path / "system" / "condense"


def test_the_second_opening_reads_no_image(
    image_folder: Writer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = image_folder()
    first = load(str(folder))
    assert capsys.readouterr().err == "condense: decoding pets once, 12 images\n"

    def refuse(*arguments: object) -> None:
        raise AssertionError("the images were read again")

    monkeypatch.setattr(images, "_part", refuse)
    second = load(str(folder))
    assert capsys.readouterr().err == ""
    assert torch.equal(second.train.take(range(6)), first.train.take(range(6)))
    assert (second.fingerprint, second.mean, second.std) == (first.fingerprint, first.mean, first.std)
    assert load(f"{folder}[dog]").train.class_counts() == [3]  # a subset shares the arrays of the whole


def test_a_set_in_memory_and_in_the_cache_have_one_fingerprint(own_cache: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
    part = array_part(pixels, np.array([0, 1, 0, 1, 0, 1]), "a test")
    contents = Contents(part, part, ("ant", "bee"))
    kept, _ = opening.stored(Source("insects", None, lambda: contents), Request("insects"), own_cache)
    mapped, _ = opening.stored(Source("insects", {"files": []}, lambda: contents), Request("insects"), own_cache)
    assert len(cache.entries(own_cache)) == 1
    assert mapped.train.fingerprint == kept.train.fingerprint
    assert (mapped.mean, mapped.std) == (kept.mean, kept.std)
    rows = torch.arange(6)
    assert torch.equal(mapped.test.pixels.take(rows), kept.test.pixels.take(rows))


def test_a_changed_image_is_decoded_anew(image_folder: Writer, own_cache: Path) -> None:
    folder = image_folder()
    before = load(str(folder))
    source, target = folder / "train/cat/0.png", folder / "train/cat/1.png"
    os.replace(source, target)
    after = load(str(folder))
    assert len(after.train) == len(before.train) - 1
    assert after.fingerprint != before.fingerprint
    assert len(cache.entries(own_cache)) == 2


@pytest.mark.parametrize("name", ["entry.json", "train.npy", "test.npy", "labels.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone", "empty"])
def test_a_damaged_entry_is_named_and_decoded_again(
    image_folder: Writer, own_cache: Path, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    folder = image_folder()
    before = load(str(folder)).fingerprint
    (entry,) = cache.entries(own_cache)
    path = entry / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-7] if damage == "cut" else b"")
    capsys.readouterr()
    assert load(str(folder)).fingerprint == before
    report = capsys.readouterr().err
    assert name in report
    assert "decoding it again" in report
    assert cache.verify(entry) == []


@pytest.mark.parametrize("field", ["mean", "classes", "resized"])
def test_a_changed_description_is_found_and_decoded_again(
    image_folder: Writer, own_cache: Path, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    folder = image_folder()
    before = load(str(folder))
    (entry,) = cache.entries(own_cache)
    facts = files.read_json(entry / "entry.json")
    other = {"mean": [0.9] * 3, "classes": facts["classes"][::-1], "resized": True}
    files.write_json(entry / "entry.json", facts | {field: other[field]})
    assert "entry.json: damaged file (its content is not what was written)" in cache.verify(entry)[0]
    capsys.readouterr()
    after = load(str(folder))
    assert (after.mean, after.classes, after.fingerprint) == (before.mean, before.classes, before.fingerprint)
    assert "decoding it again" in capsys.readouterr().err


def test_an_entry_of_another_key_is_not_taken_for_this_one(image_folder: Writer, own_cache: Path) -> None:
    folder = image_folder()
    load(str(folder))
    (entry,) = cache.entries(own_cache)
    entry.rename(entry.with_name(f"pets-{'0' * 16}"))
    assert "not what was written" in cache.verify(entry.with_name(f"pets-{'0' * 16}"))[0]


def test_an_entry_without_a_seal_counts_as_absent(
    image_folder: Writer, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = image_folder()
    before = load(str(folder)).fingerprint
    (entry,) = cache.entries(own_cache)
    facts = files.read_json(entry / "entry.json")
    del facts["digest"]
    files.write_json(entry / "entry.json", facts | {"mean": [0.9] * 3})
    assert cache.verify(entry) == []
    capsys.readouterr()
    after = load(str(folder))
    assert capsys.readouterr().err == "condense: decoding pets once, 12 images\n"
    assert (after.fingerprint, after.mean != (0.9,) * 3) == (before, True)
    assert "digest" in files.read_json(entry / "entry.json")


def test_verifying_finds_a_changed_pixel(image_folder: Writer, own_cache: Path) -> None:
    load(str(image_folder()))
    (entry,) = cache.entries(own_cache)
    assert cache.verify(entry) == []
    with open(entry / "train.npy", "r+b") as handle:
        handle.seek(-1, os.SEEK_END)
        last = handle.read(1)[0]
        handle.seek(-1, os.SEEK_END)
        handle.write(bytes([last ^ 1]))
    assert len(cache.verify(entry)) == 1
    assert "train.npy: content differs" in cache.verify(entry)[0]
    cache.remove(entry)
    assert cache.entries(own_cache) == []


def test_writing_into_a_taken_image_does_not_reach_the_file(image_folder: Writer, own_cache: Path) -> None:
    dataset = load(str(image_folder()))
    dataset.train.take([0]).zero_()
    (entry,) = cache.entries(own_cache)
    assert cache.verify(entry) == []


class Failing:
    """Counts the operations of `condense.files`, and lets one of them find the disk full."""

    def __init__(self, at: int):
        self.at = at
        self.done: list[str] = []

    def wrap(self, name: str) -> Callable[..., object]:
        original = getattr(disk, name)

        def run(*arguments: object) -> object:
            self.done.append(name)
            if len(self.done) - 1 == self.at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*arguments)

        return run


def test_a_full_disk_at_any_operation_leaves_no_entry_and_the_next_opening_works(
    image_folder: Writer, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = image_folder()
    (own_cache / "data").mkdir(parents=True)
    expected = ["mkdir", "open_new", "write", "write", "fsync"]
    for at in range(100):
        failing = Failing(at)
        with monkeypatch.context() as patch:
            for name in ("open_new", "write", "fsync", "replace", "rename", "mkdir"):
                patch.setattr(disk, name, failing.wrap(name))
            try:
                load(str(folder))
                break
            except BadInput as error:
                message = str(error)
        assert f"cannot cache pets in {own_cache / 'data'} (No space left on device); make room there" in message
        assert folders(own_cache) == []
    assert failing.done[:5] == expected
    assert at == len(failing.done) > 10
    assert len(folders(own_cache)) == 1
    assert len(load(str(folder)).train) == 6


def test_two_processes_share_one_decoding(image_folder: Writer, own_cache: Path) -> None:
    folder = image_folder(per_class=20)
    script = f"from condense.data import load; print(load({str(folder)!r}).fingerprint)"
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    answers = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    assert {out for out, _ in answers} == {f"{load(str(folder)).fingerprint}\n"}
    assert sum("decoding" in err for _, err in answers) == 1
    assert len(folders(own_cache)) == 1


def test_what_a_killed_process_left_is_swept(image_folder: Writer, own_cache: Path) -> None:
    folder = image_folder()
    script = (
        "import os, signal\n"
        "from condense import disk\n"
        "from condense.data import load\n"
        "disk.rename = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"load({str(folder)!r})\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert killed.returncode == -9
    assert [name for name in folders(own_cache) if name.startswith(".tmp-")]
    assert len(load(str(folder)).train) == 6
    assert not [name for name in folders(own_cache) if name.startswith(".tmp-")]


def test_a_large_set_is_cut_to_its_classes_before_it_is_cached(
    image_folder: Writer, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = image_folder(classes=("ant", "bee", "cat"), per_class=4)
    whole = load(str(folder), cache_dir=own_cache / "whole")
    one_class = 8 * 3 * 6 * 6
    monkeypatch.setattr(opening, "LIMIT_BYTES", one_class + 1)
    dataset = load(f"{folder}[bee]")
    assert dataset.name == "pets[1]"
    assert dataset.classes == ("bee",)
    assert torch.equal(dataset.train.take(range(4)), whole.train.take(range(4, 8)))
    (entry,) = cache.entries(own_cache)
    assert (entry / "train.npy").stat().st_size < one_class
    on_demand = load(f"{folder}[ant,cat]")
    assert on_demand.train.labels.tolist() == [0] * 4 + [1] * 4
    assert torch.equal(on_demand.train.take([7, 1]), whole.train.take([11, 1]))
    assert len(cache.entries(own_cache)) == 1
    again = load(f"{folder}[bee]")
    assert again.fingerprint == dataset.fingerprint


def test_images_on_demand_are_checked_when_they_are_taken(
    image_folder: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LIMIT_BYTES", 1)
    folder = image_folder()
    dataset = load(f"{folder}@4")
    assert dataset.name == "pets@4"
    Image.new("RGB", (5, 5)).save(folder / "train/dog/0.png")
    assert dataset.train.take([3]).sum() == 0
    (folder / "train/dog/0.png").write_bytes(b"broken")
    with pytest.raises(BadInput, match=r"train/dog/0.png cannot be decoded"):
        dataset.train.take([3])


def test_a_damaged_index_of_a_large_set_is_found_again(
    image_folder: Writer, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LIMIT_BYTES", 1)
    folder = image_folder()
    before = load(str(folder))
    (index,) = (own_cache / "data").glob("*.json")
    index.write_text("{")
    assert load(str(folder)).fingerprint == before.fingerprint
    assert files.read_json(index)["mean"] == list(before.mean)
