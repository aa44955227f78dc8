from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from condense.data import Dataset, Split
from condense.distilled import DistilledSet
from condense.distilled.foreign import Request
from condense.distilled.formats import export_set, import_set
from condense.errors import BadInput
from condense.preprocessing import Preprocessing, fit

Make = Callable[..., DistilledSet]
Ask = Callable[..., Request]
Write = Callable[..., Path]
HARD = torch.arange(9) // 3


def test_a_pixel_space_is_never_guessed(write_pt: Write, ask: Ask, images: torch.Tensor, tmp_path: Path) -> None:
    folder = write_pt(tmp_path / "in", images_best=images, labels_best=HARD)
    with pytest.raises(BadInput, match=r"does not state the pixel space .* --space: raw01 .* zca"):
        import_set("mtt", ask(folder))
    with pytest.raises(BadInput, match="unknown pixel space 'rgb'"):
        ask(folder, space="rgb")


def test_every_space_leads_to_the_same_pixels(
    write_pt: Write, ask: Ask, train: Split, space: Preprocessing, tmp_path: Path
) -> None:
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
    write_pt: Write,
    ask: Ask,
    images: torch.Tensor,
    space: str,
    scale: float,
    shift: float,
    message: str,
    tmp_path: Path,
) -> None:
    folder = write_pt(tmp_path / "in", images_best=images * scale + shift, labels_best=HARD)
    with pytest.raises(BadInput, match=message):
        import_set("mtt", ask(folder, space=space))


def test_images_of_another_shape_are_refused(write_pt: Write, ask: Ask, tmp_path: Path) -> None:
    folder = write_pt(tmp_path / "in", images_best=torch.randn(9, 3, 8, 6), labels_best=HARD)
    with pytest.raises(BadInput, match=r"\(C, H, W\) = \(3, 6, 8\), found an array of \(9, 3, 8, 6\)"):
        import_set("mtt", ask(folder, space="normalised"))


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
        (torch.tensor(2), None, "9 images came with a single number"),
    ],
)
def test_labels_that_are_not_what_they_seem_are_refused(
    write_pt: Write,
    ask: Ask,
    images: torch.Tensor,
    labels: torch.Tensor,
    form: str | None,
    message: str,
    tmp_path: Path,
) -> None:
    folder = write_pt(tmp_path / "in", images_best=images, labels_best=labels)
    with pytest.raises(BadInput, match=message):
        import_set("mtt", ask(folder, space="normalised", label_form=form))


@pytest.mark.parametrize("labels", [HARD, HARD.float(), ONE_HOT, ONE_HOT.long()])
def test_stated_hard_labels_are_read_from_any_form(
    write_pt: Write, ask: Ask, images: torch.Tensor, labels: torch.Tensor, tmp_path: Path
) -> None:
    folder = write_pt(tmp_path / "in", images_best=images, labels_best=labels)
    found = import_set("mtt", ask(folder, space="normalised", label_form="hard")).distilled
    assert torch.equal(found.labels.hard(), HARD)
    assert found.labels.kind == "hard"


def test_probabilities_where_datm_has_logits_are_questioned(
    write_pt: Write, ask: Ask, images: torch.Tensor, tmp_path: Path
) -> None:
    rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    folder = write_pt(tmp_path / "in" / "Normal", images_best=images, labels_best=rows, lr_best=torch.tensor(0.01))
    with pytest.raises(BadInput, match="every row of the labels adds up to 1"):
        import_set("datm", ask(folder.parent))
    found = import_set("datm", ask(folder.parent, label_form="probabilities")).distilled
    assert found.labels.spec()["form"] == "probabilities"
    assert found.step_size == pytest.approx(0.01)


def test_datm_needs_its_step_size(write_pt: Write, ask: Ask, images: torch.Tensor, tmp_path: Path) -> None:
    folder = write_pt(tmp_path / "in", images_best=images, labels_best=torch.randn(9, 3))
    with pytest.raises(BadInput, match=r"lr_best\.pt does not exist"):
        import_set("datm", ask(folder))


def test_two_step_sizes_that_differ_are_refused(
    write_pt: Write, ask: Ask, images: torch.Tensor, tmp_path: Path
) -> None:
    folder = write_pt(tmp_path / "in", images_best=images, labels_best=HARD, lr_best=0.02)
    assert import_set("mtt", ask(folder, space="normalised")).distilled.step_size == 0.02
    with pytest.raises(BadInput, match=r"stores the step size 0\.02, 0\.1 was given"):
        import_set("mtt", ask(folder, space="normalised", step_size=0.1))


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
