"""Foreign files that hold something else than dense, real numbers are refused by name, whatever their layout."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from condense.distilled.foreign import Request
from condense.distilled.formats import export_set, import_set
from condense.errors import BadInput, DamagedFile

Ask = Callable[..., Request]
HARD = torch.arange(9) // 3
IMAGES = torch.randn(9, 3, 6, 8, generator=torch.Generator().manual_seed(0))

TENSORS = {
    "empty": (IMAGES[:0], "an empty tensor"),
    "complex": (IMAGES.to(torch.complex64), "a tensor of complex64"),
    "sparse": (IMAGES.to_sparse(), "a tensor that is sparse"),
    "meta": (IMAGES.to("meta"), "a tensor that is without values"),
    "uint16": (IMAGES.abs().to(torch.uint16), "a tensor of uint16"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_are_no_images_are_refused(
    ask: Ask, write_pt: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    images, message = TENSORS[name]
    folder = write_pt(tmp_path / "in", images_best=images, labels_best=HARD)
    with pytest.raises(BadInput, match=rf"images_best\.pt holds {message}"):
        import_set("mtt", ask(folder, space="normalised"))
    torch.save({"data": [[images, HARD]]}, tmp_path / "res.pt")
    with pytest.raises(BadInput, match=rf"res\.pt holds {message}"):
        import_set("dc", ask(tmp_path / "res.pt"))


def test_labels_and_step_sizes_go_through_the_same_gate(
    ask: Ask, write_pt: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_pt(tmp_path / "in", images_best=IMAGES, labels_best=HARD.to_sparse())
    with pytest.raises(BadInput, match=r"labels_best\.pt holds a tensor that is sparse"):
        import_set("mtt", ask(folder, space="normalised"))
    write_pt(folder, labels_best=HARD, lr_best=torch.tensor(1j))
    with pytest.raises(BadInput, match=r"lr_best\.pt holds a tensor of complex64"):
        import_set("mtt", ask(folder, space="normalised"))
    write_pt(folder, lr_best=np.float32(0.5))
    assert import_set("mtt", ask(folder, space="normalised")).distilled.step_size == 0.5


@pytest.mark.parametrize("second", [torch.zeros(4, 1, 6, 8), torch.tensor(1.0)])
def test_shards_that_do_not_fit_each_other_are_refused(
    ask: Ask, write_pt: Callable[..., Path], tmp_path: Path, second: torch.Tensor
) -> None:
    folder = write_pt(tmp_path / "in", images_best_0=IMAGES, images_best_1=second, labels_best=HARD)
    with pytest.raises(BadInput, match=r"images_best_1\.pt holds a tensor of \(.*fetch the shards of one run"):
        import_set("mtt", ask(folder, space="normalised"))


ARRAYS = {
    "strings": ("labels", np.array(list("abcabcabc")), "labels are an array of <U1"),
    "big-endian labels": ("labels", HARD.numpy().astype(">i8"), "labels are an array of >i8"),
    "big-endian images": ("images", IMAGES.numpy().astype(">f4"), "images are an array of >f4"),
    "structured": ("labels", np.zeros(9, dtype=[("a", "i4")]), "labels are an array of .V4"),
    "dates": ("labels", np.zeros(9, dtype="datetime64[s]"), "labels are an array of <M8"),
    "uint16": ("images", np.zeros((9, 3, 6, 8), dtype=np.uint16), "a tensor of uint16"),
    "long": ("images", np.zeros((9, 3, 6, 8), dtype=np.longdouble), "images are an array of <f16"),
    "empty": ("images", np.zeros((0, 3, 6, 8), dtype=np.float32), "an empty tensor"),
    "complex": ("images", np.zeros((9, 3, 6, 8), dtype=np.complex64), "images are an array of <c8"),
    "one number": ("images", np.float32(1), r"found an array of \(\)"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_are_no_numbers_are_refused(ask: Ask, tmp_path: Path, name: str) -> None:
    field, array, message = ARRAYS[name]
    np.savez(tmp_path / "x.npz", **{"images": IMAGES.numpy(), "labels": HARD.numpy(), field: array})
    with pytest.raises(BadInput, match=rf"x\.npz.*{message}"):
        import_set("npz", ask(tmp_path / "x.npz", space="normalised"))


def test_members_that_are_no_arrays_are_damage(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, labels=HARD.numpy())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("images", b"a letter")
    with pytest.raises(DamagedFile, match="its images are no NumPy array"):
        import_set("npz", ask(path, space="normalised"))


def test_a_header_that_asks_for_more_memory_than_there_is_is_damage(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    header = repr({"descr": "<f4", "fortran_order": False, "shape": (1 << 58,)}).encode().ljust(117) + b"\n"
    np.savez(path, labels=HARD.numpy())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DamagedFile, match=r"x\.npz: damaged file \(cannot be read as an \.npz file"):
        import_set("npz", ask(path, space="normalised"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {}}, r"labels\.kind: Field required"),
        ({"labels": []}, "labels: Input should be an object"),
        ({"labels": {"kind": "hard"}}, r"labels\.n_classes: Field required"),
        ({"labels": {"kind": "hard", "n_classes": "3"}}, r"labels\.n_classes: Input should be a valid integer"),
        ({"labels": {"kind": "soft", "n_classes": 3}}, r"labels\.temperature: Field required"),
        ({"labels": {"kind": "loud", "n_classes": 3}}, r"labels\.kind: expected hard, soft or representation"),
        ({"preprocessing": "zca"}, "preprocessing: Input should be an object"),
        ({"preprocessing": {}}, "preprocessing: Unable to extract tag"),
        ({"step_size": "x"}, "step_size: Input should be a valid number"),
        ({"classes": "abc"}, "classes: Input should be a valid array"),
    ],
)
def test_what_no_export_states_is_damage(
    make: Any, ask: Ask, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "x.npz"
    export_set("npz", make(), path)
    with np.load(path) as archive:
        arrays = dict(archive)
    about = json.loads(str(arrays["about"])) | change
    np.savez(path, **{**arrays, "about": np.array(json.dumps(about))})
    with pytest.raises(DamagedFile, match=rf"x\.npz: .*`about` is not what an export writes: .*{message}"):
        import_set("npz", ask(path))


def test_an_export_of_other_images_is_refused_as_any_archive_is(make: Any, ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    export_set("npz", make(), path)
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, "images": np.zeros((9, 3, 9, 9), dtype=np.float32)})
    with pytest.raises(BadInput, match=r"= \(3, 6, 8\), found an array of \(9, 3, 9, 9\)"):
        import_set("npz", ask(path))


def test_a_picture_of_more_pixels_than_can_be_meant_is_refused(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    (tmp_path / "in" / "0").mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(tmp_path / "in" / "0" / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8)
    with pytest.raises(DamagedFile, match=r"a\.png: .*decompression bomb"):
        import_set("imagefolder", ask(tmp_path / "in"))
