from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from condense.data import Dataset, Split
from condense.distilled import DistilledSet
from condense.distilled.foreign import Request
from condense.distilled.formats import export_set, import_set
from condense.errors import BadInput, DamagedFile

Make = Callable[..., DistilledSet]
Ask = Callable[..., Request]
Write = Callable[..., Path]
HARD = torch.arange(9) // 3


def test_shards_are_joined_in_numeric_order(write_pt: Write, ask: Ask, tmp_path: Path) -> None:
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


def test_a_pickle_is_never_run(write_pt: Write, ask: Ask, images: torch.Tensor, tmp_path: Path) -> None:
    folder = write_pt(tmp_path / "in", images_best=Malicious(), labels_best=HARD)
    with pytest.raises(DamagedFile, match=r"images_best\.pt: .*as tensors and numbers alone"):
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


def test_other_content_and_absent_files_say_what_was_expected(write_pt: Write, ask: Ask, tmp_path: Path) -> None:
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


def repetitions(count: int, path: Path) -> list[torch.Tensor]:
    """A file as the code of DC writes it, with the accuracies that NumPy made; the images of each repetition."""
    found = [torch.randn(9, 3, 6, 8) for _ in range(count)]
    accuracies = {"ConvNet": [np.float64(0.5)] * count, "times": [np.int64(3)]}
    torch.save({"data": [[images, HARD] for images in found], "accs_all_exps": accuracies}, path)
    return found


def test_one_repetition_of_dc_is_taken_by_the_seed(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "res_DM_toys_ConvNet_3ipc.pt"
    sets = repetitions(3, path)
    for seed, images in enumerate(sets):
        found = import_set("dc", ask(path, seed=seed, method="dm")).distilled
        assert torch.equal(found.tensors()["images"], images)
        assert torch.equal(found.labels.hard(), HARD)
        assert (found.provenance["seed"], found.provenance["method"]) == (seed, "dm")
        assert found.preprocessing.spec()["kind"] == "normalise"  # as that code trains
    assert import_set("dc", ask(path, space="zca")).distilled.preprocessing.spec()["kind"] == "zca"
    for seed in (3, -1):
        with pytest.raises(BadInput, match=rf"3 repetitions, number {seed} was asked for; give --seed 0 to 2"):
            import_set("dc", ask(path, seed=seed))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), "no list 'data'"),
        ({"data": []}, "no list 'data'"),
        ({"data": [[torch.zeros(9, 3, 6, 8)]]}, "something else than pairs"),
        ({"data": [["images", "labels"]]}, "something else than pairs"),
        ({"data": [[torch.randn(9, 3, 6, 8), HARD[:8]]]}, "9 images came with 8 labels"),
    ],
)
def test_a_file_that_is_none_of_dc_is_refused(ask: Ask, content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "res.pt")
    with pytest.raises(BadInput, match=message):
        import_set("dc", ask(tmp_path / "res.pt"))
    with pytest.raises(BadInput, match="is a folder; give the file"):
        import_set("dc", ask(tmp_path))


def test_a_pickle_of_dc_is_never_run(ask: Ask, tmp_path: Path) -> None:
    torch.save({"data": [[torch.randn(9, 3, 6, 8), HARD]], "accs_all_exps": Malicious()}, tmp_path / "res.pt")
    with pytest.raises(DamagedFile, match=r"res\.pt: .*as tensors and numbers alone"):
        import_set("dc", ask(tmp_path / "res.pt"))


def test_target_vectors_are_no_labels_and_are_not_probed(
    write_pt: Write, ask: Ask, images: torch.Tensor, tmp_path: Path
) -> None:
    vectors = torch.randn(9, 7)
    folder = write_pt(tmp_path / "in", x_syn=images.clone().requires_grad_(), y_syn=vectors)

    def probe(imported: DistilledSet) -> tuple[int, int]:
        raise AssertionError("a set without classes cannot be probed")

    imported = import_set("selfsup", ask(folder, space="normalised", label_form="vectors"), probe)
    assert imported.probe is None
    assert torch.equal(imported.distilled.tensors()["targets_repr"], vectors)
    for form in (None, "logits"):  # labels of another data set look the same
        with pytest.raises(BadInput, match=r"has 3 classes, the labels have 7 columns; .* --label-form vectors"):
            import_set("selfsup", ask(folder, space="normalised", label_form=form))
    for strange in (torch.arange(63).view(9, 7), torch.randn(9, 1), torch.randn(9)):
        write_pt(tmp_path / "in", y_syn=strange)
        with pytest.raises(BadInput, match="floating-point rows of two numbers or more"):
            import_set("selfsup", ask(folder, space="normalised", label_form="vectors"))
    as_many = write_pt(tmp_path / "in", y_syn=torch.randn(9, 3))
    assert import_set("selfsup", ask(as_many, space="normalised", label_form="vectors")).distilled.labels.kind == (
        "representation"
    )
    with pytest.raises(BadInput, match="does not state the pixel space"):
        import_set("selfsup", ask(folder))


@pytest.mark.parametrize("layout", ["mtt", "datm", "selfsup", "imagefolder"])
def test_one_file_of_a_folder_is_answered_with_what_to_give(layout: str, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "x_syn.pt").write_bytes(b"")
    with pytest.raises(BadInput, match=r"x_syn\.pt is a file; give the folder that holds "):
        import_set(layout, ask(tmp_path / "x_syn.pt"))


def test_the_labels_of_its_baselines_have_to_be_called_by_their_form(
    write_pt: Write, ask: Ask, images: torch.Tensor, tmp_path: Path
) -> None:
    rows = torch.randn(9, 3)
    folder = write_pt(tmp_path / "in", x_syn=images, y_syn=rows)
    with pytest.raises(BadInput, match="say what they are with --label-form"):
        import_set("selfsup", ask(folder, space="normalised"))
    found = import_set("selfsup", ask(folder, space="normalised", label_form="logits")).distilled
    assert torch.equal(found.tensors()["labels_soft"], rows)
    write_pt(tmp_path / "in", y_syn=HARD)
    assert torch.equal(import_set("selfsup", ask(folder, space="normalised")).distilled.labels.hard(), HARD)
    write_pt(tmp_path / "in", y_syn=HARD[:8])
    with pytest.raises(BadInput, match="9 images came with 8 labels"):
        import_set("selfsup", ask(folder, space="normalised"))
