"""Export for the Hugging Face Hub, read back by the reader of real data in that layout."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from condense.data import Split, load
from condense.distilled import DistilledSet, HardLabels, Representations, SoftLabels
from condense.distilled.formats import export_set
from condense.preprocessing import Preprocessing, fit

Make = Callable[..., DistilledSet]
HARD = torch.arange(9) // 3


def table(folder: Path):
    import pyarrow.parquet

    return pyarrow.parquet.read_table(folder / "data/train-00000-of-00001.parquet")


def features(folder: Path) -> dict[str, dict[str, object]]:
    return json.loads(table(folder).schema.metadata[b"huggingface"])["info"]["features"]


def test_a_set_is_read_back_as_data_in_the_hub_s_layout(make: Make, train: Split, tmp_path: Path) -> None:
    made = make(stored=train.take(torch.arange(9)))
    assert export_set("parquet", made, tmp_path / "out") == []
    shutil.copy(tmp_path / "out/data/train-00000-of-00001.parquet", tmp_path / "out/data/test-00000-of-00001.parquet")
    found = load(str(tmp_path / "out"), cache_dir=tmp_path / "cache")
    assert found.classes == made.classes
    assert torch.equal(found.train.take(torch.arange(9)), train.take(torch.arange(9)))
    assert torch.equal(found.train.labels, HARD)


def test_floats_become_pixels_and_the_export_and_the_card_say_so(
    make: Make, space: Preprocessing, tmp_path: Path
) -> None:
    made = make()
    (note,) = export_set("parquet", made, tmp_path / "out")
    assert "rounded to 8 bits" in note
    page = (tmp_path / "out/README.md").read_text()
    assert "rounded to 8 bits" in page
    assert "data_files: data/train-00000-of-00001.parquet" in page
    assert json.dumps(space.spec(), sort_keys=True) in page
    assert "step size" not in page


def test_the_card_keeps_what_has_no_column(make: Make, tmp_path: Path) -> None:
    made = make(SoftLabels(torch.randn(9, 3), "logits", temperature=4.0), step_size=0.0123)
    export_set("parquet", made, tmp_path / "out")
    page = (tmp_path / "out/README.md").read_text()
    assert "at the learned step size 0.0123." in page
    assert "Soft labels are meant at temperature 4." in page


def test_every_kind_of_label_has_a_column_that_says_what_it_is(make: Make, tmp_path: Path) -> None:
    rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    vectors = rows.repeat(1, 2)
    kinds = {"hard": HardLabels(HARD), "soft": SoftLabels(rows, "logits"), "vectors": Representations(vectors)}
    for name, labels in kinds.items():
        export_set("parquet", make(labels), tmp_path / name)
    assert list(features(tmp_path / "hard")) == ["image", "label"]
    assert features(tmp_path / "hard")["label"] == {"_type": "ClassLabel", "names": ["apple", "brick", "cloud"]}
    soft = table(tmp_path / "soft")
    assert list(features(tmp_path / "soft")) == soft.column_names == ["image", "label", "soft_label"]
    assert soft["label"].to_pylist() == rows.argmax(1).tolist()
    assert torch.equal(torch.tensor(soft["soft_label"].to_pylist()), rows)
    assert "`soft_label`, logits over the classes" in (tmp_path / "soft/README.md").read_text()
    assert list(features(tmp_path / "vectors")) == ["image", "target"]
    assert torch.equal(torch.tensor(table(tmp_path / "vectors")["target"].to_pylist()), vectors)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_keep_their_channels(channels: int, tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (4, channels, 6, 8), dtype=torch.uint8)
    split = Split.from_arrays(pixels, [0, 1, 0, 1], ["a", "b"])
    export_set("parquet", DistilledSet.synthetic(pixels, split.labels, split, fit("identity", split)), tmp_path / "out")
    pictures = [Image.open(io.BytesIO(row["bytes"])) for row in table(tmp_path / "out")["image"].to_pylist()]
    assert {picture.mode for picture in pictures} == {"L" if channels == 1 else "RGB"}
    assert {picture.size for picture in pictures} == {(8, 6)}
