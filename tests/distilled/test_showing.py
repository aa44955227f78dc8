"""The card, the preview and the reader that is printed in every card."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from condense.data import Split
from condense.distilled import DistilledSet, HardLabels, Labels, SoftLabels, card, preview, save
from condense.errors import BadInput
from condense.preprocessing import Preprocessing, fit, identity

Make = Callable[..., DistilledSet]


def front(text: str) -> str:
    return text.split("---\n")[1]


def test_the_front_matter_is_that_of_a_hub_card(make: Make) -> None:
    made = make(step_size=0.02)
    text = front(card.render(made))
    assert (
        text
        == f"""license: unknown
pretty_name: "DM on toys, 3 images per class"
task_categories:
- image-classification
size_categories:
- "n<1K"
annotations_creators:
- machine-generated
source_datasets:
- toys
tags:
- dataset-distillation
- dm
configs:
- config_name: default
  data_files: data.safetensors
dd:
  id: {card._scalar(made.id)}
  method: dm
  preset: cpu
  seed: 0
  budget:
    ipc: 3
  images: 9
  labels: hard
  pixel_space: normalise
  bytes: {made.bytes().total}
"""
    )


def test_the_card_names_the_licence_of_the_data_that_changes_no_identity(make: Make) -> None:
    plain = make()
    provenance = {**plain.provenance, "volatile": {"licence": "CC BY 4.0"}}
    made = replace(plain, provenance=provenance)
    assert "license: cc-by-4.0" in front(card.render(made))
    assert "Its licence: CC BY 4.0. The licence and the terms of that data set hold" in card.render(made)
    unstated = replace(plain, provenance={**plain.provenance, "volatile": {"licence": "none stated by the authors"}})
    assert "license: unknown" in front(card.render(unstated))  # the Hub refuses words that it does not know
    assert made.id == plain.id


def test_words_that_yaml_reads_as_something_else_are_quoted() -> None:
    assert card._yaml({"a": "no", "b": "3e4", "c": "x: y", "d": "plain", "e": True}) == (
        'a: "no"\nb: "3e4"\nc: "x: y"\nd: plain\ne: true\n'
    )


def test_the_card_has_every_section_and_the_numbers_of_the_set(make: Make, labels: Labels) -> None:
    text = card.render(make(labels, step_size=0.02, extras={"bias": torch.zeros(1)}))
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections == [
        "Uses",
        "Structure",
        "Bytes",
        "Reading it without condense",
        "Creation",
        "Source data",
        "Limits",
    ]
    assert "9 of 3 × 6 × 8, stored as float32" in text
    assert "Learned step size**: 0.02" in text
    assert "`extra.bias`" in text
    assert "| config.lr_images | `1.0` |" in text
    assert f"| labels | {labels.nbytes():,} |" in text
    assert "2026" not in text  # times and hosts are no part of a card


def test_results_stand_in_the_card_when_given(make: Make) -> None:
    results = [card.Result("hard-dsa", "convnet-d3", 0.4876, 0.4811, 0.4941, 6)]
    text = card.render(make(), results)
    assert "| hard-dsa | convnet-d3 | 48.8 | 48.1 to 49.4 | 6 |" in text
    assert "  results:\n  - protocol: hard-dsa\n    network: convnet-d3\n    accuracy: 0.4876\n    runs: 6\n" in front(
        text
    )


def test_a_set_without_a_history_says_so(make: Make) -> None:
    text = card.render(make(provenance={}))
    assert "How the set was made is not recorded." in text
    assert 'pretty_name: "Distilled set, 9 images"' in text


def test_what_should_not_happen_and_did_is_told(make: Make) -> None:
    text = card.render(make(provenance={"method": "mine", "flags": {"rejected_steps": 7, "limited_step_sizes": 0}}))
    assert "| flag.rejected_steps | `7` |" in text
    assert "limited_step_sizes" not in text


def test_class_names_cannot_break_the_card(make: Make) -> None:
    text = card.render(replace(make(), classes=("a|b", "*c*", "<d>")))
    assert r"a\|b, \*c\*, \<d\>" in text


def test_the_card_of_a_selection_says_that_it_holds_positions(train: Split, space: Preprocessing) -> None:
    text = card.render(DistilledSet.selection(torch.arange(3), train, space))
    assert "The set holds their positions, not the images" in text
    assert "preview.png" not in text


def test_a_picture_has_a_row_per_class_and_undoes_the_preprocessing(
    make: Make, images: torch.Tensor, space: Preprocessing
) -> None:
    picture = np.asarray(preview.grid(make(), per_class=2))
    scale = 8  # 64 / 8, the longer side
    expected = (space.inverse(images).clamp(0, 1) * 255).round().to(torch.uint8)
    enlarged = expected.repeat_interleave(scale, 2).repeat_interleave(scale, 3).permute(0, 2, 3, 1).numpy()
    height, width = 6 * scale, 8 * scale
    right = picture.shape[1] - 12
    for row, first in enumerate((0, 3, 6)):
        top = 12 + row * (height + 3)
        assert np.array_equal(picture[top : top + height, right - width : right], enlarged[first + 1])
        left = right - 2 * width - 3
        assert np.array_equal(picture[top : top + height, left : left + width], enlarged[first])
    assert picture.shape[0] == 2 * 12 + 3 * (height + 3) - 3


def test_whitened_images_are_shown_as_pixels(train: Split) -> None:
    pixels = train.take(torch.arange(6))
    whitening = fit("zca", train)
    made = DistilledSet.synthetic(whitening.forward(pixels), train.labels[:6], train, whitening)
    assert (preview.pixels(made, torch.arange(6)).int() - pixels.int()).abs().max() == 0


def test_a_class_without_images_has_no_row(make: Make) -> None:
    two = preview.grid(make(HardLabels(torch.tensor([0, 0, 0, 0, 2, 2, 2, 2, 2]))))
    assert two.height == 2 * 12 + 2 * (48 + 3) - 3


def test_grey_images_and_many_classes_can_be_shown() -> None:
    count = preview.MAX_ROWS + 5
    split = Split.from_arrays(
        torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8), torch.arange(count), [f"c{i}" for i in range(count)]
    )
    made = DistilledSet.synthetic(split.take(torch.arange(count)), split.labels, split, identity())
    picture = preview.grid(made)
    assert picture.height == 2 * 12 + preview.MAX_ROWS * (64 + 3) - 3 + 2 * 15


def test_labels_without_classes_are_shown_in_plain_rows(make: Make, replayed: Labels) -> None:
    assert preview.grid(make(replayed), per_class=4).size == (2 * 12 + 4 * 67 - 3, 2 * 12 + 3 * 51 - 3)


def test_an_unbound_selection_cannot_be_shown_and_says_what_to_do(train: Split, space: Preprocessing) -> None:
    made = DistilledSet.selection(torch.arange(6), train, space)
    assert preview.grid(made).height > 100
    with pytest.raises(BadInput, match=r"bind\(train\)"):
        preview.grid(replace(made, bound=None))


def printed_reader(folder: Path) -> str:
    return (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]


BARE = f"""
import sys
sys.path = [entry for entry in sys.path if "site-packages" not in entry] + [{sysconfig.get_paths()["stdlib"]!r}]
import importlib.util, importlib.machinery, pathlib
site = pathlib.Path({sysconfig.get_paths()["purelib"]!r})
class OnlyTwo:
    # Nothing of the environment but numpy and safetensors can be imported.
    def find_spec(self, name, path=None, target=None):
        if path is None and name in ("numpy", "safetensors"):
            return importlib.machinery.PathFinder.find_spec(name, [str(site)])
sys.meta_path.append(OnlyTwo())
for absent in ("condense", "torch", "pydantic"):
    assert importlib.util.find_spec(absent) is None, absent
"""


def run_bare(code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", BARE + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr


CHECK = """
exec(pathlib.Path(sys.argv[3]).read_text())
arrays, about = read(sys.argv[1])
expected = np.load(sys.argv[2])
for name in expected.files:
    assert arrays[name].shape == expected[name].shape, name
    assert np.allclose(arrays[name], expected[name], atol=1e-5), name
assert about["classes"] == ["apple", "brick", "cloud"]
assert set(arrays) == set(expected.files), set(arrays)
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("kind", ["uint8", "normalised", "identity", "zca", "soft", "selection"])
def test_the_printed_reader_needs_numpy_and_safetensors_alone(
    make: Make, train: Split, images: torch.Tensor, space: Preprocessing, kind: str, tmp_path: Path
) -> None:
    made, expected = _readable(kind, make, train, images, space)
    folder = save(made, tmp_path / "set", self_contained=True)
    np.savez(tmp_path / "expected.npz", **{name: tensor.numpy() for name, tensor in expected.items()})
    (tmp_path / "reader.py").write_text(printed_reader(folder))
    run_bare(CHECK, str(folder), str(tmp_path / "expected.npz"), str(tmp_path / "reader.py"))


def _readable(
    kind: str, make: Make, train: Split, images: torch.Tensor, space: Preprocessing
) -> tuple[DistilledSet, dict[str, torch.Tensor]]:
    hard = torch.arange(9) // 3
    if kind == "selection":
        index = torch.tensor([4, 2])
        return DistilledSet.selection(index, train, space), {"source_index": index, "labels_hard": train.labels[index]}
    if kind == "uint8":
        pixels = train.take(torch.arange(9))
        return make(stored=pixels), {"images": pixels, "pixels": pixels / 255, "labels_hard": hard}
    if kind == "identity":
        made = replace(make(step_size=0.5), preprocessing=identity())
        step = torch.tensor(0.5, dtype=torch.float64)
        return made, {"images": images, "pixels": images, "labels_hard": hard, "lr": step}
    if kind == "zca":
        made = DistilledSet.synthetic(images, hard, train, fit("zca", train))
        return made, {"images": images, "pixels": made.preprocessing.inverse(images), "labels_hard": hard}
    if kind == "soft":
        rows = torch.full((9, 3), 1 / 3)
        return make(SoftLabels(rows)), {"images": images, "pixels": space.inverse(images), "labels_soft": rows}
    return make(), {"images": images, "pixels": space.inverse(images), "labels_hard": hard}
