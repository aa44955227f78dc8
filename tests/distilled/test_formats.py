from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from condense.data import Dataset, Split
from condense.distilled import DistilledSet, HardLabels, Labels, Representations, SoftLabels, load
from condense.distilled.foreign import Request
from condense.distilled.formats import export_set, import_set, layouts
from condense.errors import BadInput, DamagedFile, UnknownName
from condense.preprocessing import Preprocessing, fit

Make = Callable[..., DistilledSet]
HARD = torch.arange(9) // 3


@pytest.fixture
def toys(train: Split) -> Dataset:
    return Dataset(
        "toys", train, train, train.classes, train.shape, "0" * 64, True, train.mean, train.std, "cc0-1.0", ""
    )


@pytest.fixture
def ask(toys: Dataset, tmp_path: Path) -> Callable[..., Request]:
    def build(source: Path, **rest: object) -> Request:
        return Request(source, toys, cache_dir=tmp_path / "cache", **rest)  # type: ignore[arg-type]

    return build


Ask = Callable[..., Request]


def write_pt(folder: Path, **tensors: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in tensors.items():
        torch.save(value, folder / f"{name}.pt")
    return folder


def test_the_folder_is_the_registry() -> None:
    known = {layout.name: (layout.read is not None, layout.write is not None) for layout in layouts()}
    assert known == {
        "datm": (True, False),
        "imagefolder": (True, True),
        "mtt": (True, False),
        "npz": (True, True),
        "pt": (False, True),
        "self-contained": (False, True),
    }
    assert all(layout.summary for layout in layouts())


def test_unknown_formats_name_the_nearest_that_goes_that_way(make: Make, ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown import format 'mt'; did you mean mtt"):
        import_set("mt", ask(tmp_path))
    with pytest.raises(UnknownName, match="unknown export format 'datm'"):
        export_set("datm", make(), tmp_path / "x")


# ---------------------------------------------------------------------------------------------------- round trips


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
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["apple", "brick", "cloud"]
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


# --------------------------------------------------------------------------------------------------------- export


@pytest.mark.parametrize("layout", ["npz", "pt", "imagefolder", "self-contained"])
def test_an_export_does_not_write_over_what_is_there_unless_told(make: Make, layout: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export_set(layout, make(), target)
    with pytest.raises(BadInput, match="exists; choose another target"):
        export_set(layout, make(), target)
    export_set(layout, make(), target, replace_existing=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("layout", ["npz", "pt", "imagefolder"])
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
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000", "00001"]
    assert import_set("imagefolder", Request(tmp_path / "out", dataset)).distilled.labels.hard().tolist() == [
        0,
        0,
        1,
        1,
    ]


# ---------------------------------------------------------------------------------------------------- pixel space


def test_a_pixel_space_is_never_guessed(ask: Ask, images: torch.Tensor, tmp_path: Path) -> None:
    folder = write_pt(tmp_path / "in", images_best=images, labels_best=HARD)
    with pytest.raises(BadInput, match=r"does not state the pixel space .* --space: raw01 .* zca"):
        import_set("mtt", ask(folder))
    with pytest.raises(BadInput, match="unknown pixel space 'rgb'"):
        ask(folder, space="rgb")


def test_every_space_leads_to_the_same_pixels(ask: Ask, train: Split, space: Preprocessing, tmp_path: Path) -> None:
    pixels = train.take(torch.arange(9))
    whitening = fit("zca", train, cache_dir=tmp_path / "cache")
    given = {
        "uint8": pixels,
        "raw01": pixels / 255,
        "normalised": space.forward(pixels),
        "zca": whitening.forward(pixels),
    }
    for name, images in given.items():
        folder = write_pt(tmp_path / name, images_best=images, labels_best=HARD)
        found = import_set("mtt", ask(folder, space=name)).distilled
        seen = found.preprocessing.inverse(found.view().gather(torch.arange(9)))
        torch.testing.assert_close(seen, pixels / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("space", "scale", "shift", "message"),
    [
        ("raw01", 1.0, 0.0, r"raw01 pixels lie in \[0, 1\], found -"),
        ("uint8", 1.0, 0.0, r"whole numbers in \[0, 255\]"),
        ("normalised", 0.01, 9.0, "normalised images have values below 0"),
        ("zca", 0.01, 9.0, "zca images have values below 0"),
    ],
)
def test_values_that_contradict_the_space_are_refused(
    ask: Ask, images: torch.Tensor, space: str, scale: float, shift: float, message: str, tmp_path: Path
) -> None:
    folder = write_pt(tmp_path / "in", images_best=images * scale + shift, labels_best=HARD)
    with pytest.raises(BadInput, match=message):
        import_set("mtt", ask(folder, space=space))


def test_images_of_another_shape_are_refused(ask: Ask, tmp_path: Path) -> None:
    folder = write_pt(tmp_path / "in", images_best=torch.randn(9, 3, 8, 6), labels_best=HARD)
    with pytest.raises(BadInput, match=r"\(C, H, W\) = \(3, 6, 8\), found an array of \(9, 3, 8, 6\)"):
        import_set("mtt", ask(folder, space="normalised"))


# --------------------------------------------------------------------------------------------------------- labels

ONE_HOT = torch.eye(3)[HARD]


@pytest.mark.parametrize(
    ("labels", "form", "message"),
    [
        (HARD.float(), None, "floating-point numbers; if they are class numbers, say --label-form hard"),
        (HARD + 0.5, "hard", "floating-point numbers"),
        (ONE_HOT, None, "labels are one-hot rows; say what they are"),
        (torch.randn(9, 3), None, "a matrix of float32; say what they are"),
        (torch.randn(9, 3), "hard", "rows are not one-hot"),
        (torch.randn(9, 3), "probabilities", "add up to 1"),
        (HARD, "logits", "one number per image"),
        (HARD + 1, None, r"must lie in \[0, 3\), found 1 to 3"),
        (HARD - 1, None, "found -1 to 1"),
        (torch.randn(9, 4), "logits", "has 3 classes, the labels have 4 columns"),
        (torch.zeros(9, 1, 1), None, "a vector or a matrix"),
        (HARD[:8], None, "9 images came with 8 labels"),
    ],
)
def test_labels_that_are_not_what_they_seem_are_refused(
    ask: Ask, images: torch.Tensor, labels: torch.Tensor, form: str | None, message: str, tmp_path: Path
) -> None:
    folder = write_pt(tmp_path / "in", images_best=images, labels_best=labels)
    with pytest.raises(BadInput, match=message):
        import_set("mtt", ask(folder, space="normalised", label_form=form))


@pytest.mark.parametrize("labels", [HARD, HARD.float(), ONE_HOT, ONE_HOT.long()])
def test_stated_hard_labels_are_read_from_any_form(
    ask: Ask, images: torch.Tensor, labels: torch.Tensor, tmp_path: Path
) -> None:
    folder = write_pt(tmp_path / "in", images_best=images, labels_best=labels)
    found = import_set("mtt", ask(folder, space="normalised", label_form="hard")).distilled
    assert torch.equal(found.labels.hard(), HARD)
    assert found.labels.kind == "hard"


def test_probabilities_where_datm_has_logits_are_questioned(ask: Ask, images: torch.Tensor, tmp_path: Path) -> None:
    rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    folder = write_pt(tmp_path / "in" / "Normal", images_best=images, labels_best=rows, lr_best=torch.tensor(0.01))
    with pytest.raises(BadInput, match="every row of the labels adds up to 1"):
        import_set("datm", ask(folder.parent))
    found = import_set("datm", ask(folder.parent, label_form="probabilities")).distilled
    assert found.labels.spec()["form"] == "probabilities"
    assert found.step_size == pytest.approx(0.01)


def test_datm_needs_its_step_size(ask: Ask, images: torch.Tensor, tmp_path: Path) -> None:
    folder = write_pt(tmp_path / "in", images_best=images, labels_best=torch.randn(9, 3))
    with pytest.raises(BadInput, match=r"lr_best\.pt does not exist"):
        import_set("datm", ask(folder))


def test_two_step_sizes_that_differ_are_refused(ask: Ask, images: torch.Tensor, tmp_path: Path) -> None:
    folder = write_pt(tmp_path / "in", images_best=images, labels_best=HARD, lr_best=0.02)
    assert import_set("mtt", ask(folder, space="normalised")).distilled.step_size == 0.02
    with pytest.raises(BadInput, match=r"stores the step size 0\.02, 0\.1 was given"):
        import_set("mtt", ask(folder, space="normalised", step_size=0.1))


# ---------------------------------------------------------------------------------------------------------- files


def test_shards_are_joined_in_numeric_order(ask: Ask, tmp_path: Path) -> None:
    images = torch.randn(12, 3, 6, 8)
    labels = torch.arange(12) % 3
    shards = {f"images_best_{i}": images[i : i + 1].clone() for i in range(12)}
    shards |= {f"labels_best_{i}": labels[i : i + 1].clone() for i in range(12)}
    folder = write_pt(tmp_path / "in", **shards)
    found = import_set("mtt", ask(folder, space="normalised")).distilled
    assert torch.equal(found.tensors()["images"], images)  # shard 10 comes after shard 9, not after shard 1
    assert found.provenance["budget"] == {"ipc": 4}
    torch.save(images, folder / "images_best.pt")
    with pytest.raises(BadInput, match=r"holds both images_best\.pt and images_best_0\.pt"):
        import_set("mtt", ask(folder, space="normalised"))
    (folder / "images_best.pt").unlink()
    (folder / "images_best_4.pt").unlink()
    with pytest.raises(BadInput, match=r"lacks images_best_4\.pt"):
        import_set("mtt", ask(folder, space="normalised"))


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code in a file was run')",)


def test_a_pickle_is_never_run(ask: Ask, images: torch.Tensor, tmp_path: Path) -> None:
    folder = write_pt(tmp_path / "in", images_best=Malicious(), labels_best=HARD)
    with pytest.raises(DamagedFile, match=r"images_best\.pt: .*as tensors alone"):
        import_set("mtt", ask(folder, space="normalised"))
    np.savez(tmp_path / "x.npz", images=np.array([Malicious()], dtype=object), labels=HARD.numpy())
    with pytest.raises(DamagedFile, match=r"x\.npz"):
        import_set("npz", ask(tmp_path / "x.npz"))


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_foreign_files_are_refused_by_name(make: Make, ask: Ask, part: float, tmp_path: Path) -> None:
    export_set("pt", make(), tmp_path / "pt")
    export_set("npz", make(), tmp_path / "set.npz")
    export_set("imagefolder", make(), tmp_path / "pictures")
    damaged = [
        ("mtt", tmp_path / "pt", tmp_path / "pt" / "labels_best.pt", {"space": "normalised"}),
        ("npz", tmp_path / "set.npz", tmp_path / "set.npz", {}),
        ("imagefolder", tmp_path / "pictures", tmp_path / "pictures" / "brick" / "4.png", {}),
    ]
    for layout, source, path, options in damaged:
        content = path.read_bytes()
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(DamagedFile, match=path.name):
            import_set(layout, ask(source, **options))


def test_other_content_and_absent_files_say_what_was_expected(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist; give the file or folder to import"):
        ask(tmp_path / "nowhere")
    folder = write_pt(tmp_path / "in", images_best={"data": [1, 2]})
    with pytest.raises(BadInput, match="holds dict, expected one tensor"):
        import_set("mtt", ask(folder, space="normalised"))
    (folder / "images_best.pt").unlink()
    with pytest.raises(BadInput, match=r"holds no images_best\.pt and no images_best_0\.pt"):
        import_set("mtt", ask(folder, space="normalised"))
    with pytest.raises(BadInput, match=r"a folder where an \.npz file was expected"):
        import_set("npz", ask(folder))
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    with pytest.raises(BadInput, match="lacks images, labels; found x"):
        import_set("npz", ask(tmp_path / "x.npz"))


def test_foreign_archives_may_hold_channels_last(ask: Ask, images: torch.Tensor, tmp_path: Path) -> None:
    np.savez(tmp_path / "kip.npz", images=images.permute(0, 2, 3, 1).numpy(), labels=HARD.numpy())
    found = import_set("npz", ask(tmp_path / "kip.npz", space="normalised")).distilled
    assert torch.equal(found.tensors()["images"], images)


def test_an_archive_that_states_its_space_takes_no_other_and_no_other_classes(
    make: Make, ask: Ask, train: Split, tmp_path: Path
) -> None:
    export_set("npz", make(), tmp_path / "set.npz")
    with pytest.raises(BadInput, match="leave out --space"):
        import_set("npz", ask(tmp_path / "set.npz", space="raw01"))
    other = Split.from_arrays(train.take(range(6)), train.labels[:6], ["x", "y", "z"])
    dataset = Dataset("other", other, other, other.classes, other.shape, "0" * 64, True, other.mean, other.std, "", "")
    with pytest.raises(BadInput, match="has the classes apple, brick, cloud; other has others"):
        import_set("npz", Request(tmp_path / "set.npz", dataset))


# --------------------------------------------------------------------------------------------------- class folders


def picture(path: Path, value: int, mode: str = "RGB", size: tuple[int, int] = (8, 6)) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value,) * len(mode)).save(buffer, format="PNG")
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize("names", [("cloud", "apple", "brick"), ("00002", "00000", "00001"), ("2", "0", "1")])
def test_folders_are_matched_by_name_or_number_not_by_position(
    ask: Ask, names: tuple[str, ...], tmp_path: Path
) -> None:
    for value, name in zip((200, 0, 100), names, strict=True):
        picture(tmp_path / "in" / name / "a.png", value)
    found = import_set("imagefolder", ask(tmp_path / "in")).distilled
    assert [int(image[0, 0, 0]) for image in found.tensors()["images"]] == [0, 100, 200]
    assert found.labels.hard().tolist() == [0, 1, 2]


@pytest.mark.parametrize("names", [("apple", "zebra"), ("1", "2", "3"), ("apple", "0")])
def test_folders_that_fit_no_class_are_refused(ask: Ask, names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        picture(tmp_path / "in" / name / "a.png", 0)
    with pytest.raises(BadInput, match=r"is no class of toys; name the folders as its classes"):
        import_set("imagefolder", ask(tmp_path / "in"))


def test_a_class_may_have_no_folder_and_other_files_are_left_alone(ask: Ask, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "cloud" / "a.PNG", 7)
    (tmp_path / "in" / "cloud" / "notes.txt").write_text("x")
    found = import_set("imagefolder", ask(tmp_path / "in")).distilled
    assert found.labels.hard().tolist() == [2]
    assert found.provenance["budget"] == {"total": 1}


def test_pictures_of_another_size_or_kind_are_refused_by_name(ask: Ask, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "apple" / "big.png", 0, size=(9, 6))
    with pytest.raises(BadInput, match=r"big\.png is 9 x 6 pixels, expected 8 x 6"):
        import_set("imagefolder", ask(tmp_path / "in"))
    picture(tmp_path / "in" / "apple" / "big.png", 0, mode="RGBA")
    with pytest.raises(BadInput, match=r"big\.png has the mode RGBA"):
        import_set("imagefolder", ask(tmp_path / "in"))
    with pytest.raises(BadInput, match="holds no class folders"):
        import_set("imagefolder", ask(tmp_path / "in" / "apple"))
    (tmp_path / "empty" / "apple").mkdir(parents=True)
    with pytest.raises(BadInput, match="holds no pictures"):
        import_set("imagefolder", ask(tmp_path / "empty"))


def test_pictures_are_pixels_whatever_is_claimed(ask: Ask, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "apple" / "a.png", 0)
    with pytest.raises(BadInput, match="picture files hold uint8 pixels, --space zca was given"):
        import_set("imagefolder", ask(tmp_path / "in", space="zca"))


# ---------------------------------------------------------------------------------------------------------- probe


@pytest.mark.parametrize(("correct", "at_chance"), [(333, True), (360, True), (400, False), (900, False)])
def test_the_probe_tells_guessing_from_learning(
    make: Make, ask: Ask, toys: Dataset, correct: int, at_chance: bool, tmp_path: Path
) -> None:
    export_set("npz", make(), tmp_path / "set.npz")
    seen = []

    def probe(imported: DistilledSet) -> tuple[int, int]:
        seen.append(imported.bound)
        return correct, 1000

    found = import_set("npz", ask(tmp_path / "set.npz"), probe).probe
    assert found is not None
    assert seen == [toys.train]
    assert found.at_chance is at_chance  # guessing 1/3 of 1000: three standard errors are 45
    assert ("NO BETTER THAN GUESSING" in str(found)) is at_chance
    assert f"{correct / 10:.1f} % of 1000 real training images, guessing 33.3 %" in str(found)


def test_an_import_records_where_it_came_from(make: Make, ask: Ask, toys: Dataset, tmp_path: Path) -> None:
    export_set("pt", make(), tmp_path / "in")
    found = import_set("mtt", ask(tmp_path / "in", space="normalised", method="mtt-official", seed=3)).distilled
    made = found.provenance
    assert (made["method"], made["title"], made["seed"]) == ("mtt-official", "mtt-official", 3)
    assert made["budget"] == {"ipc": 3}
    assert made["dataset"] == {"name": "toys", "fingerprint": toys.fingerprint}
    assert made["config"] == {"layout": "mtt", "space": "normalised", "label_form": None}
