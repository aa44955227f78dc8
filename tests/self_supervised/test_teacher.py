"""Teachers and their cached features: trained here, brought along, shared, and equal to what they stand for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from condense import _torchvision, files, networks
from condense.augment import CropFlip
from condense.data import Split
from condense.errors import BadInput, DamagedFile, UnknownName
from condense.preprocessing import normalise
from condense.run import Run
from condense.self_supervised import (
    BarlowTwins,
    Teacher,
    backbones,
    teacher,
    teacher_cost,
    teacher_features,
    teacher_for,
    teacher_views,
    trained,
)


@dataclass(frozen=True)
class Settings:
    teacher: str = "barlow-twins"
    teacher_network: str = "convnet-d1:norm=batch,width=4"
    teacher_epochs: int = 2
    teacher_projector: int = 6
    teacher_precision: str = "float32"


def test_a_teacher_is_frozen_and_shared(
    split: Split, tiny: BarlowTwins, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(split, tiny, run)
    assert not first.network.training
    assert not any(weight.requires_grad for weight in first.network.parameters())
    monkeypatch.setattr(teacher, "pretrain", lambda *_: pytest.fail("trained a second time"))
    again = trained(split, tiny, run)
    images = again.space.forward(split.take([0, 1]))
    assert torch.equal(first.embed(images), again.embed(images))
    assert first.embed(images).shape == (2, first.dim)


def test_labels_are_no_part_of_a_teacher(split: Split, tiny: BarlowTwins, run: Run) -> None:
    images = split.take(torch.arange(len(split)))
    relabelled = Split.from_arrays(images, torch.arange(20) // 10, split.classes)
    assert relabelled.fingerprint != split.fingerprint
    assert trained(split, tiny, run).identity == trained(relabelled.unlabelled(), tiny, run).identity


def test_a_configuration_names_its_teacher(split: Split, run: Run) -> None:
    found = teacher_for(split.unlabelled(), Settings(), run)
    assert found.identity["how"]["epochs"] == 2
    assert teacher_cost(split, Settings()).operations > 0


def test_features_of_a_split_are_those_of_its_images(split: Split, tiny: BarlowTwins, run: Run) -> None:
    found = trained(split, tiny, run)
    features = teacher_features(split.unlabelled(), found, run, batch=7)
    rows = torch.tensor([4, 17])
    torch.testing.assert_close(features[rows], found.embed(found.space.forward(split.take(rows))))
    assert features.shape == (20, found.dim)


def test_features_are_computed_once(split: Split, tiny: BarlowTwins, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = trained(split, tiny, run)
    features = teacher_features(split, found, run)
    monkeypatch.setattr(Teacher, "embed", lambda *_: pytest.fail("computed a second time"))
    assert torch.equal(teacher_features(split, found, run), features)


def test_another_version_of_the_training_has_features_of_its_own(
    split: Split, tiny: BarlowTwins, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = teacher_features(split, trained(split, tiny, run), run)
    module = "condense.self_supervised.teacher"
    other = networks.build(tiny.network, split.shape, 1, torch.Generator().manual_seed(9))
    monkeypatch.setattr(f"{module}._VERSION", 2)
    monkeypatch.setattr(f"{module}.pretrain", lambda *_: other)
    found = trained(split, tiny, run)
    features = teacher_features(split, found, run)
    torch.testing.assert_close(features, found.embed(found.space.forward(split.take(torch.arange(20)))))
    assert not torch.allclose(features, before)


def test_features_of_a_view_are_those_of_the_same_draw(split: Split, tiny: BarlowTwins, run: Run) -> None:
    found, augment = trained(split, tiny, run), CropFlip(padding=2)
    views = teacher_views(split, found, augment, 2, run)
    rows = torch.tensor([11, 3])
    for view in views:
        images = augment.apply(split.take(rows) / 255, view.draw.take(rows))  # pixels: what a crop adds is black
        torch.testing.assert_close(view.features[rows], found.embed(found.space.forward(images)))
    assert not torch.equal(views[0].features, views[1].features)


def test_features_in_bfloat16_point_the_same_way(split: Split, tiny: BarlowTwins, run: Run) -> None:
    exact = trained(split, tiny, run)
    rough = dataclasses.replace(exact, precision="bfloat16")
    pair = [teacher_features(split, each, run) for each in (exact, rough)]
    assert not torch.equal(*pair)
    assert float(torch.cosine_similarity(*pair).min()) > 0.999


NAME = "resnet10:norm=batch,width=2"


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_local_checkpoint_is_a_teacher(split: Split, run: Run, tmp_path: Path, suffix: str) -> None:
    network = networks.build(NAME, split.shape, 7, torch.Generator().manual_seed(1))
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": network.state_dict()}, path)
    else:
        files.write_tensors(path, network.state_dict())
    found = teacher_for(split, Settings(teacher=f"{NAME}@{path}"), run)
    images = found.space.forward(split.take([0]))
    torch.testing.assert_close(found.embed(images), network.eval().embed(images).detach())


def test_a_teacher_that_was_saved_is_the_same_teacher_in_its_own_pixel_space(
    split: Split, run: Run, tmp_path: Path
) -> None:
    """As one with published weights, whose images are normalised by other numbers than those of the split."""
    network = networks.build(NAME, split.shape, 1, torch.Generator().manual_seed(1))
    teacher = Teacher(network, NAME, normalise((0.485, 0.456, 0.406), (0.1, 0.2, 0.3)), {"kind": "for tests"})
    source = teacher.save(tmp_path / "teacher.safetensors")
    found = teacher_for(split, Settings(teacher=source), run)
    assert found.space.digest == teacher.space.digest
    pixels = split.take([0, 1])
    assert torch.equal(found.embed(found.space.forward(pixels)), teacher.embed(teacher.space.forward(pixels)))


@pytest.mark.parametrize("words", ["{", '{"kind": "unheard-of"}'])
def test_a_file_that_says_nothing_sensible_of_its_images_is_damaged(split: Split, tmp_path: Path, words: str) -> None:
    state = networks.build(NAME, split.shape, 1).state_dict()
    files.write_tensors(tmp_path / "w.safetensors", state, {"preprocessing": words})
    with pytest.raises(DamagedFile, match=r"w\.safetensors.*of its images"):
        backbones.load(f"{NAME}@{tmp_path / 'w.safetensors'}", split)


def test_a_checkpoint_of_torchvision_s_own_network_is_a_teacher(split: Split, tmp_path: Path) -> None:
    original = _torchvision.load("models").get_model("resnet18", num_classes=3)
    torch.save(original.state_dict(), tmp_path / "resnet18.pth")
    found = backbones.load(f"torchvision:resnet18@{tmp_path / 'resnet18.pth'}", split)
    original.fc = torch.nn.Identity()
    images = found.space.forward(split.take([0, 1]))
    with torch.no_grad():
        torch.testing.assert_close(found.network.eval().embed(images), original.eval()(images))


def test_weights_of_another_network_are_refused(split: Split, tmp_path: Path) -> None:
    files.write_tensors(tmp_path / "w.safetensors", networks.build("mlp:width=4", split.shape, 2).state_dict())
    with pytest.raises(BadInput, match=r"lack conv\.weight"):
        backbones.load(f"{NAME}@{tmp_path / 'w.safetensors'}", split)


def test_code_in_a_checkpoint_is_not_run(split: Split, tmp_path: Path) -> None:
    torch.save({"conv.weight": Path("/")}, tmp_path / "w.pt")
    with pytest.raises(DamagedFile, match=r"w\.pt") as refused:
        backbones.load(f"{NAME}@{tmp_path / 'w.pt'}", split)
    assert "weights_only" not in str(refused.value)  # PyTorch's advice would run it


@pytest.mark.parametrize("source", ["convnet", "convnet@nowhere", "convnet@there/is/none.pt"])
def test_a_source_without_weights_is_refused(split: Split, source: str) -> None:
    with pytest.raises(BadInput, match=r"write for example|does not exist"):
        backbones.load(source, split)


def test_published_weights_are_named_and_not_fetched_unasked(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("CONDENSE_DOWNLOAD", raising=False)
    with pytest.raises(UnknownName, match="IMAGENET1K_V1"):
        backbones.load("torchvision:resnet18@IMAGENET1K_V9", split)
    with pytest.raises(BadInput, match="CONDENSE_DOWNLOAD=1"):
        backbones.load("torchvision:resnet18@IMAGENET1K_V1", split)
