from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from condense.data import Dataset, Split
from condense.distilled import DistilledSet, HardLabels, Labels, Representations, SoftLabels, load
from condense.distilled.foreign import Request
from condense.distilled.formats import export_set, import_set, layouts
from condense.distilled.replacing import MARK
from condense.errors import BadInput, UnknownName
from condense.preprocessing import Preprocessing, fit

Make = Callable[..., DistilledSet]
Ask = Callable[..., Request]
Write = Callable[..., Path]
HARD = torch.arange(9) // 3


def test_the_folder_is_the_registry() -> None:
    known = {layout.name: (layout.read is not None, layout.write is not None) for layout in layouts()}
    assert known == {
        "datm": (True, False),
        "dc": (True, False),
        "imagefolder": (True, True),
        "mtt": (True, False),
        "npz": (True, True),
        "parquet": (False, True),
        "pt": (False, True),
        "selfsup": (True, False),
        "self-contained": (False, True),
    }
    assert all(layout.summary for layout in layouts())


def test_unknown_formats_name_the_nearest_that_goes_that_way(make: Make, ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown import format 'mt'; did you mean mtt"):
        import_set("mt", ask(tmp_path))
    with pytest.raises(UnknownName, match="unknown export format 'datm'"):
        export_set("datm", make(), tmp_path / "x")


@pytest.mark.parametrize("step_size", [None, 0.0123])
def test_pt_is_read_back_by_mtt(make: Make, ask: Ask, step_size: float | None, tmp_path: Path) -> None:
    made = make(step_size=step_size)
    notes = export_set("pt", made, tmp_path / "out")
    assert "--space normalised" in notes[0]
    found = import_set("mtt", ask(tmp_path / "out", space="normalised")).distilled
    assert torch.equal(found.tensors()["images"], made.tensors()["images"])
    assert torch.equal(found.labels.hard(), made.labels.hard())
    assert found.step_size == step_size
    assert found.preprocessing.digest == made.preprocessing.digest


def test_pt_holds_pixels_in_the_space_that_networks_see(
    make: Make, ask: Ask, train: Split, space: Preprocessing, tmp_path: Path
) -> None:
    pixels = train.take(torch.arange(9))
    export_set("pt", make(stored=pixels), tmp_path / "out")
    found = import_set("mtt", ask(tmp_path / "out", space="normalised")).distilled
    torch.testing.assert_close(found.tensors()["images"], space.forward(pixels))


def test_pt_with_logits_is_read_back_by_datm(ask: Ask, train: Split, images: torch.Tensor, tmp_path: Path) -> None:
    whitening = fit("zca", train, cache_dir=tmp_path / "cache")
    logits = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    made = DistilledSet.synthetic(images, SoftLabels(logits, "logits"), train, whitening, step_size=0.02)
    export_set("pt", made, tmp_path / "out")
    found = import_set("datm", ask(tmp_path / "out")).distilled
    assert torch.equal(found.tensors()["images"], images)
    assert torch.equal(found.tensors()["labels_soft"], logits)
    assert found.labels.spec() == made.labels.spec()
    assert found.preprocessing.digest == whitening.digest
    assert found.step_size == 0.02


@pytest.mark.parametrize("kind", ["hard", "soft", "logits", "representation"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
def test_npz_goes_both_ways(make: Make, ask: Ask, kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    labels: dict[str, Labels] = {
        "hard": HardLabels(HARD),
        "soft": SoftLabels(rows.softmax(1).half(), temperature=4.0),
        "logits": SoftLabels(rows, "logits", 2.0),
        "representation": Representations(rows.repeat(1, 2)),
    }
    made = make(labels[kind], torch.rand(9, 3, 6, 8).mul(255).to(dtype), step_size=0.5)
    assert export_set("npz", made, tmp_path / "set.npz") == []
    found = import_set("npz", ask(tmp_path / "set.npz")).distilled
    for name, tensor in made.tensors().items():
        assert found.tensors()[name].dtype == tensor.dtype
        assert torch.equal(found.tensors()[name], tensor), name
    assert found.labels.spec() == made.labels.spec()
    assert found.preprocessing.digest == made.preprocessing.digest


def test_pictures_go_both_ways_without_loss(make: Make, ask: Ask, train: Split, tmp_path: Path) -> None:
    made = make(stored=train.take(torch.arange(9)))
    assert export_set("imagefolder", made, tmp_path / "out") == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MARK, "apple", "brick", "cloud"]
    found = import_set("imagefolder", ask(tmp_path / "out")).distilled
    assert torch.equal(found.tensors()["images"], made.tensors()["images"])
    assert torch.equal(found.labels.hard(), HARD)


def test_pictures_of_floats_are_rounded_and_the_export_says_so(
    make: Make, ask: Ask, space: Preprocessing, tmp_path: Path
) -> None:
    made = make()
    assert "rounded to 8 bits" in export_set("imagefolder", made, tmp_path / "out")[0]
    found = import_set("imagefolder", ask(tmp_path / "out")).distilled.tensors()["images"] / 255
    expected = space.inverse(made.tensors()["images"]).clamp(0, 1)
    assert (found - expected).abs().max() <= 0.5 / 255 + 1e-6


def test_a_self_contained_export_is_the_same_set(
    make: Make, train: Split, images: torch.Tensor, tmp_path: Path
) -> None:
    whitening = fit("zca", train, cache_dir=tmp_path / "cache")
    made = DistilledSet.synthetic(images, HARD, train, whitening)
    export_set("self-contained", made, tmp_path / "out")
    found = load(tmp_path / "out", cache_dir=tmp_path / "another cache")
    assert found.id == made.id
    pixels = train.take([3])
    assert torch.equal(found.preprocessing.forward(pixels), whitening.forward(pixels))


def test_a_bound_selection_exports_its_pixels(ask: Ask, train: Split, space: Preprocessing, tmp_path: Path) -> None:
    index = torch.tensor([0, 1, 2])
    made = DistilledSet.selection(index, train, space)
    export_set("npz", made, tmp_path / "set.npz")
    export_set("imagefolder", made, tmp_path / "folder")
    for layout, source in (("npz", "set.npz"), ("imagefolder", "folder")):
        assert torch.equal(import_set(layout, ask(tmp_path / source)).distilled.tensors()["images"], train.take(index))


@pytest.mark.parametrize("layout", ["npz", "pt", "imagefolder", "parquet", "self-contained"])
def test_an_export_does_not_write_over_what_is_there_unless_told(make: Make, layout: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export_set(layout, make(), target)
    with pytest.raises(BadInput, match="exists; choose another target"):
        export_set(layout, make(), target)
    export_set(layout, make(), target, replace_existing=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("layout", ["npz", "pt", "imagefolder", "parquet"])
def test_what_a_format_cannot_hold_is_not_dropped(make: Make, replayed: Labels, layout: str, tmp_path: Path) -> None:
    losing = [
        make(extras={"bias": torch.zeros(1)}),
        make(HardLabels(torch.arange(18) % 3), expansion={"kind": "mirror"}),
        make(replayed),
    ]
    for made in losing:
        with pytest.raises(BadInput, match=r"self-contained|export npz instead"):
            export_set(layout, made, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_class_folders_do_not_take_soft_labels(make: Make, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="export npz instead"):
        export_set("imagefolder", make(SoftLabels(torch.full((9, 3), 1 / 3))), tmp_path / "out")


def test_class_names_that_are_no_folder_names_become_numbers(tmp_path: Path) -> None:
    split = Split.from_arrays(torch.zeros(4, 3, 6, 8, dtype=torch.uint8), [0, 1, 0, 1], ["a/b", "c"])
    dataset = Dataset("x", split, split, split.classes, split.shape, "0" * 64, True, split.mean, split.std, "", "")
    made = DistilledSet.synthetic(split.take(range(4)), split.labels, split, fit("identity", split))
    export_set("imagefolder", made, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MARK, "00000", "00001"]
    assert import_set("imagefolder", Request(tmp_path / "out", dataset)).distilled.labels.hard().tolist() == [
        0,
        0,
        1,
        1,
    ]
