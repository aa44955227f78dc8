"""set.json against the content: what it says is of the right type, and true, whatever its seal says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from condense import files
from condense.data import Split
from condense.distilled import DistilledSet, Labels, load, save, verify
from condense.errors import BadInput, DamagedFile
from condense.identity import digest
from condense.preprocessing import fit, normalise

Make = Callable[..., DistilledSet]


@pytest.fixture
def saved(make: Make, replayed: Labels, tmp_path: Path) -> Path:
    return save(make(replayed, step_size=0.1), tmp_path / "set")


def _seal(folder: Path, content: dict[str, Any]) -> None:
    """Writes a set.json as somebody would who knows how it is sealed."""
    unsealed = {name: value for name, value in content.items() if name != "seal"}
    files.write_json(folder / "set.json", {**unsealed, "seal": digest(unsealed)})


MISSTATED = {
    "labels.n_classes": "3",
    "labels.temperature": "hot",
    "labels.epochs": 1.5,
    "labels.batch": None,
    "labels.form": "loud",
    "labels.surplus": 1,
    "preprocessing.mean": "0.5",
    "preprocessing.std": [0.1, True, 0.1],
    "preprocessing.kind": "pca",
    "bytes.total": -1,
    "bytes.images": "1",
    "provenance.dataset": "x",
    "provenance.budget": {"x": 1},
    "provenance.config": [],
    "provenance.volatile": {"seconds": "long"},
    "provenance.seed": "one",
}


@pytest.mark.parametrize(("field", "value"), MISSTATED.items())
def test_a_field_of_another_type_is_refused_by_name_although_the_seal_is_right(
    saved: Path, field: str, value: object
) -> None:
    part, name = field.split(".")
    content = json.loads((saved / "set.json").read_text())
    _seal(saved, content | {part: content[part] | {name: value}})
    with pytest.raises(DamagedFile, match=rf"set\.json: damaged file \({part}.*({name}|'pca')"):
        load(saved)
    assert len(verify(saved)) == 1
    assert f"({part}" in verify(saved)[0]


@pytest.mark.parametrize(
    ("labels", "field", "value"),
    [
        ("quantised-logits", "codec", {"kind": "logits", "k": 2, "x": 1}),
        ("quantised-logits", "codec", None),
        ("regions", "regions", {"version": 1, "count": "9"}),
        ("regions-classes", "classes", "yes"),
        ("teacher", "network", ["mlp"]),
        ("teacher", "shape", "abc"),
        ("committee", "networks", "mlp"),
        ("committee", "spaces", []),
        ("committee", "spaces", [{"kind": "identity"}]),
        ("committee", "weights", ["1", 1.0]),
    ],
    indirect=["labels"],
)
def test_every_kind_of_label_says_which_of_its_fields_is_of_another_type(
    make: Make, labels: Labels, tmp_path: Path, field: str, value: object
) -> None:
    folder = save(make(labels), tmp_path / "set")
    content = json.loads((folder / "set.json").read_text())
    _seal(folder, content | {"labels": content["labels"] | {field: value}})
    found = verify(folder)
    assert len(found) == 1
    assert f"set.json: damaged file (labels.{field}" in found[0]


def test_values_inside_values_without_an_end_are_refused(saved: Path) -> None:
    content = (saved / "set.json").read_text()
    for depth in (400, 100_000):
        nested = content.replace('"provenance": {', f'"provenance": {{"deep": {"[" * depth}{"]" * depth}, ')
        (saved / "set.json").write_text(nested)
        assert "set.json: damaged file" in verify(saved)[0]


def test_a_provenance_that_others_could_not_read_is_refused_before_it_is_saved(make: Make) -> None:
    with pytest.raises(BadInput, match=r"provenance\.budget\.x: Extra inputs"):
        make(provenance={"budget": {"x": 1}})
    with pytest.raises(BadInput, match=r"provenance\.dataset: leave it out"):
        make(provenance={"dataset": None})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", 99),
        ("shape", [3, 32, 32]),
        ("images", "uint8"),
        ("bytes", {"images": 1, "labels": 0, "extras": 0, "preprocessing": 0, "total": 1}),
        ("schema", 0),
    ],
)
def test_a_description_that_the_content_does_not_bear_out_is_found(saved: Path, field: str, value: object) -> None:
    _seal(saved, json.loads((saved / "set.json").read_text()) | {field: value})
    found = verify(saved)
    assert len(found) == 1
    assert f"set.json: damaged file ({field}: " in found[0]


def test_label_files_that_are_not_recorded_are_found(saved: Path) -> None:
    content = json.loads((saved / "set.json").read_text())
    del content["files"]["labels/epoch-0001.safetensors"]
    _seal(saved, content)
    assert "epoch-0001.safetensors: damaged file (set.json does not record it)" in verify(saved)[0]
    with pytest.raises(DamagedFile, match="does not record it"):
        load(saved)
    (saved / "labels" / "epoch-0001.safetensors").unlink()
    assert "epoch-0001.safetensors: damaged file (missing)" in verify(saved)[0]


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [("surplus", torch.ones(2), "holds surplus, which is no part"), ("lr", torch.ones(2), "lr should be one number")],
)
def test_tensors_that_are_no_part_of_a_set_are_refused(
    saved: Path, name: str, tensor: torch.Tensor, message: str
) -> None:
    path = saved / "data.safetensors"
    files.write_tensors(path, files.read_tensors(path) | {name: tensor})
    content = json.loads((saved / "set.json").read_text())
    _seal(saved, content | {"files": content["files"] | {path.name: files.sha256(path)}})
    assert f"data.safetensors: damaged file ({message}" in verify(saved)[0]


def test_a_preprocessing_for_other_images_is_refused(make: Make, train: Split, tmp_path: Path) -> None:
    whitening = fit("zca", train, cache_dir=tmp_path)
    for other in (normalise((0.5,), (0.5,)), replace(whitening, shape=(3, 8, 6))):
        with pytest.raises(BadInput, match=r"for 1 channels|fitted on images"):
            replace(make(), preprocessing=other)
