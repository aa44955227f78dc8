from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from condense import files
from condense.data import Split
from condense.distilled import DistilledSet, HardLabels, Labels, load, save, schema, verify
from condense.errors import BadInput, DamagedFile, UnknownName
from condense.preprocessing import Preprocessing, fit, identity

Make = Callable[..., DistilledSet]


def assert_same(found: DistilledSet, made: DistilledSet) -> None:
    assert found.id == made.id
    assert found.tensors().keys() == made.tensors().keys()
    for name, tensor in made.tensors().items():
        assert found.tensors()[name].dtype == tensor.dtype
        assert torch.equal(found.tensors()[name], tensor), name
    assert found.labels.spec() == made.labels.spec()
    assert found.bytes() == made.bytes()
    assert found.classes == made.classes
    assert found.step_size == made.step_size
    assert found.provenance == made.provenance
    assert found.preprocessing.spec() == made.preprocessing.spec()


def test_every_kind_of_label_survives_a_round_trip(make: Make, labels: Labels, tmp_path: Path) -> None:
    made = make(labels, step_size=0.1 + 0.2, extras={"bias": torch.arange(3), "scale": torch.tensor(2.0)})
    found = load(save(made, tmp_path / "set"))
    assert_same(found, made)
    ours, theirs = made.labels.view(2, 1, torch.tensor([1, 5])), found.labels.view(2, 1, torch.tensor([1, 5]))
    assert torch.equal(ours.indices, theirs.indices)
    assert (ours.target is None) == (theirs.target is None)
    if ours.target is not None and theirs.target is not None:
        assert torch.equal(ours.target, theirs.target)
    assert verify(tmp_path / "set") == []


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_every_type_of_image_survives_a_round_trip(make: Make, dtype: torch.dtype, tmp_path: Path) -> None:
    made = make(stored=torch.rand(9, 3, 6, 8).mul(255).to(dtype))
    found = load(save(made, tmp_path / "set"))
    assert_same(found, made)
    pick = torch.tensor([8, 1])
    assert torch.equal(found.view().gather(pick), made.view().gather(pick))


def test_equal_sets_are_equal_bytes(make: Make, tmp_path: Path) -> None:
    first, second = save(make(), tmp_path / "a"), save(make(), tmp_path / "b")
    names = sorted(path.name for path in first.iterdir())
    assert names == ["README.md", "data.safetensors", "preview.png", "set.json"]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_a_selection_saves_indices_and_no_pixels(train: Split, space: Preprocessing, tmp_path: Path) -> None:
    made = DistilledSet.selection(torch.tensor([5, 1, 59]), train, space)
    folder = save(made, tmp_path / "set")
    assert set(files.read_tensors(folder / "data.safetensors")) == {"source_index", "labels_hard"}
    assert not (folder / "preview.png").exists()
    found = load(folder)
    assert_same(found, made)
    with pytest.raises(BadInput, match=r"bind\(train\)"):
        found.view().gather(torch.tensor([0]))
    pick = torch.tensor([2, 0])
    assert torch.equal(found.bind(train).view().gather(pick), made.view().gather(pick))
    assert torch.equal(load(folder, train=train).view().gather(pick), made.view().gather(pick))
    with pytest.raises(BadInput, match="load the data set that it was made from"):
        load(folder, train=train.subset([0, 1]))


def test_whitening_matrices_are_bundled_on_request_and_do_not_change_the_identity(
    train: Split, images: torch.Tensor, tmp_path: Path
) -> None:
    whitening = fit("zca", train, cache_dir=tmp_path / "cache")
    made = DistilledSet.synthetic(images, torch.arange(9) // 3, train, whitening)
    thin, thick = save(made, tmp_path / "thin"), save(made, tmp_path / "thick", self_contained=True)
    assert not (thin / "zca.safetensors").exists()
    elsewhere = tmp_path / "another cache"
    found = load(thick, cache_dir=elsewhere)
    pixels = train.take([0, 1])
    assert_same(found, made)
    assert torch.equal(found.preprocessing.forward(pixels), whitening.forward(pixels))


def test_a_whitened_set_without_matrices_can_be_described_and_waits_for_its_training_split(
    train: Split, images: torch.Tensor, tmp_path: Path
) -> None:
    whitening = fit("zca", train, cache_dir=tmp_path / "cache")
    made = DistilledSet.synthetic(images, torch.arange(9) // 3, train, whitening)
    found = load(save(made, tmp_path / "set"), cache_dir=tmp_path / "another cache")
    assert_same(found, made)
    with pytest.raises(BadInput, match="neither bundled nor in the cache"):
        found.preprocessing.forward(train.take([0]))
    bound = found.bind(train, cache_dir=tmp_path / "another cache")
    assert torch.equal(bound.preprocessing.forward(train.take([0])), whitening.forward(train.take([0])))
    with pytest.raises(BadInput, match="give the same data set"):
        found.bind(train.subset([0, 1, 2]), cache_dir=tmp_path / "a third cache")


def test_an_expansion_survives(make: Make, tmp_path: Path) -> None:
    made = make(HardLabels(torch.arange(18) % 3), expansion={"kind": "mirror"})
    found = load(save(made, tmp_path / "set"))
    assert_same(found, made)
    assert torch.equal(found.view().gather(torch.tensor([12])), made.view().gather(torch.tensor([12])))


def test_saving_does_not_write_over_what_is_there(make: Make, tmp_path: Path) -> None:
    folder = save(make(), tmp_path / "set")
    with pytest.raises(BadInput, match="exists and is not empty"):
        save(make(step_size=0.5), folder)
    assert load(folder).step_size is None
    save(make(step_size=0.5), folder, replace_existing=True)
    assert load(folder).step_size == 0.5


def test_nothing_is_left_when_saving_fails(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        save(make(), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


NAMES = ("README.md", "data.safetensors", "preview.png", "set.json", "labels/epoch-0001.safetensors")


@pytest.fixture
def saved(make: Make, replayed: Labels, tmp_path: Path) -> Path:
    return save(make(replayed, step_size=0.1), tmp_path / "set")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", [0.0, 0.02, 0.3, 0.6, 0.98])
def test_a_changed_byte_anywhere_is_refused_by_the_name_of_the_file(saved: Path, name: str, part: float) -> None:
    path = saved / name
    content = bytearray(path.read_bytes())
    content[int(part * len(content))] ^= 0x04
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=name):
        load(saved)
    assert name in verify(saved)[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused_by_name(saved: Path, name: str, part: float) -> None:
    path = saved / name
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DamagedFile, match=name):
        load(saved)


@pytest.mark.parametrize("name", NAMES[:3] + NAMES[4:])
def test_a_missing_file_is_refused_by_name(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(DamagedFile, match=f"{name}.*missing"):
        load(saved)


def test_all_problems_are_listed(saved: Path) -> None:
    (saved / "README.md").write_text("other")
    (saved / "labels" / "epoch-0002.safetensors").unlink()
    assert [Path(line.split(":")[0]).name for line in verify(saved)] == ["README.md", "epoch-0002.safetensors"]


def test_truncated_tensors_are_refused_by_name_even_unverified(saved: Path) -> None:
    path = saved / "data.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedFile, match=r"data\.safetensors"):
        load(saved, verify=False)


def test_content_that_was_swapped_with_its_hash_is_found_by_the_identity(make: Make, tmp_path: Path) -> None:
    folder, other = save(make(), tmp_path / "a"), save(make(step_size=0.3), tmp_path / "b")
    shutil.copy(other / "data.safetensors", folder / "data.safetensors")
    described = schema.read(folder)
    hashes = described.files | {"data.safetensors": files.sha256(folder / "data.safetensors")}
    forged = described.model_copy(update={"files": hashes}).sealed()
    files.write_json(folder / "set.json", forged.model_dump(mode="json", by_alias=True))
    assert "the content has the id" in verify(folder)[0]


def _edit(folder: Path, **changes: object) -> None:
    described = json.loads((folder / "set.json").read_text()) | changes
    sealed = schema.SetFile.model_validate(described).sealed()
    files.write_json(folder / "set.json", sealed.model_dump(mode="json", by_alias=True))


def test_a_newer_schema_says_to_upgrade(saved: Path) -> None:
    _edit(saved, schema=2)
    with pytest.raises(BadInput, match="schema version 2, this condense reads up to 1; upgrade it"):
        load(saved)


def test_an_unknown_label_kind_names_the_nearest(saved: Path) -> None:
    _edit(saved, labels={"kind": "replay"})
    with pytest.raises(UnknownName, match="did you mean replayed"):
        load(saved)
    assert "unknown label kind" in verify(saved)[0]


def test_a_missing_entry_is_damage(saved: Path) -> None:
    _edit(saved, labels={"kind": "soft", "n_classes": 3, "form": "logits", "temperature": 1.0})
    with pytest.raises(DamagedFile, match="labels_soft"):
        load(saved)
    _edit(saved, labels={"kind": "replayed"})
    with pytest.raises(DamagedFile, match=r"set\.json: .*labels\.n_classes: Field required"):
        load(saved)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("count", "many", "count"), ("extra", 1, "extra"), ("files", {"../x": "0" * 64}, "leads out of the set's folder")],
)
def test_a_description_of_another_form_is_refused(saved: Path, field: str, value: object, message: str) -> None:
    content = json.loads((saved / "set.json").read_text()) | {field: value}
    (saved / "set.json").write_text(json.dumps(content))
    with pytest.raises(DamagedFile, match=rf"set\.json: .*{message}"):
        load(saved)


def test_what_is_no_set_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist; give the folder of a saved set"):
        load(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"holds no set\.json"):
        load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file, not a folder"):
        load(tmp_path / "file")
    (tmp_path / "set.json").write_text("[]")
    with pytest.raises(DamagedFile, match="expected an object, found list"):
        load(tmp_path)


def test_nothing_of_the_description_is_executed_or_lost(make: Make, tmp_path: Path) -> None:
    provenance = {"config": {"rate": 1e-7, "name": 'ü\n"quoted"', "none": None, "list": [1, [2.5]]}}
    made = replace(make(provenance=provenance), preprocessing=identity())
    assert load(save(made, tmp_path / "set")).provenance == provenance
