"""Teachers: trained on nine tenths, measured on the last tenth, cached, resumed bit for bit, loaded, recorded."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from condense import _torchvision, files, networks, teachers
from condense.data import Split, validation_split
from condense.errors import BadInput, DamagedFile, UnknownName
from condense.preprocessing import Preprocessing, normalise
from condense.run import Run
from condense.self_supervised import backbones
from condense.soft_labels import LabelRecipe, provenance
from condense.teachers import Teacher, trained
from condense.tensor_format import checksum
from condense.training import SplitSource, accuracy, train

NETWORK = "convnet-d1:width=4,norm=batch"
RECIPE = teachers.recipe("tiny-images", flips=False, epochs=2)
Open = Callable[..., Run]


@pytest.fixture(scope="module")
def split() -> Split:
    """120 images of three patterns."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 3
    images = 40 * labels[:, None, None, None] + torch.randint(0, 120, (120, 1, 8, 8), generator=draws)
    return Split.from_arrays(images.to(torch.uint8), labels, ("one", "two", "three"), flips=False)


@pytest.fixture
def space(split: Split) -> Preprocessing:
    return normalise(split.mean, split.std)


@pytest.fixture
def open_run(tmp_path: Path) -> Open:
    def start(name: str = "run", cache: str = "cache") -> Run:
        return Run(tmp_path / name, seed=0, cache_dir=tmp_path / cache, checkpoint_seconds=0.0)

    return start


def same(one: Teacher, other: Teacher) -> bool:
    return one.accuracy == other.accuracy and all(
        torch.equal(value, other.state[name]) for name, value in one.state.items()
    )


def test_it_learns_from_nine_tenths_and_is_measured_on_the_last(
    split: Split, space: Preprocessing, open_run: Open
) -> None:
    seen: list[Split] = []

    def watched(module: torch.nn.Module, source: SplitSource, *arguments: object, **options: object) -> None:
        seen.append(source.split)
        train(module, source, *arguments, **options)  # type: ignore[arg-type]

    with mock.patch.object(trained, "fit", watched), open_run() as run:
        teacher = teachers.train_teacher(split, space, NETWORK, RECIPE, run)
    kept, held = validation_split(split)
    assert [part.fingerprint for part in seen] == [kept.fingerprint]
    assert (len(kept), len(held)) == (108, 12)
    assert teacher.accuracy == accuracy(teacher.module(), SplitSource(held, space))
    assert teacher.trained_on == "nine tenths of the training split"


def test_it_is_trained_once_for_all_who_ask(split: Split, space: Preprocessing, open_run: Open) -> None:
    with open_run("one") as run:
        first = teachers.train_teacher(split, space, NETWORK, RECIPE, run)
    spelt_otherwise = "convnet-d1:norm=batch,width=4"
    with mock.patch.object(trained, "fit", side_effect=AssertionError), open_run("two") as run:
        second = teachers.train_teacher(split, space, spelt_otherwise, RECIPE, run)
        assert same(first, second)
        with pytest.raises(AssertionError):
            teachers.train_teacher(split, space, NETWORK, RECIPE.replace(lr=0.02), run)


def test_an_interrupted_training_goes_on_bit_for_bit(split: Split, space: Preprocessing, open_run: Open) -> None:
    class Killed(BaseException):
        pass

    def dies(module: torch.nn.Module, source: SplitSource, recipe: object, rng: object, *, run: Run) -> None:
        def on_step(epoch: int, step: int, loss: torch.Tensor) -> None:
            if (epoch, step) == (1, 0):
                raise Killed

        train(module, source, recipe, rng, run=run, on_step=on_step)  # type: ignore[arg-type]

    with open_run("unbroken", "elsewhere") as run:
        expected = teachers.train_teacher(split, space, NETWORK, RECIPE, run)
    with mock.patch.object(trained, "fit", dies), pytest.raises(Killed), open_run() as run:
        teachers.train_teacher(split, space, NETWORK, RECIPE, run)
    steps: list[tuple[int, int]] = []

    def goes_on(*arguments: object, **options: object) -> None:
        train(*arguments, **options, on_step=lambda epoch, step, _: steps.append((epoch, step)))  # type: ignore[arg-type]

    with mock.patch.object(trained, "fit", goes_on), open_run() as run:
        found = teachers.train_teacher(split, space, NETWORK, RECIPE, run)
    assert steps == [(1, 0), (1, 1)]
    assert same(found, expected)


def test_a_module_is_frozen_and_in_evaluation_mode(split: Split, space: Preprocessing, open_run: Open) -> None:
    with open_run() as run:
        teacher = teachers.train_teacher(split, space, NETWORK, RECIPE, run)
    module = teacher.module()
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert module is not teacher.module()


def test_a_committee_is_a_list_in_the_order_of_its_names(split: Split, space: Preprocessing, open_run: Open) -> None:
    names = f"{NETWORK} + convnet-d2:norm=batch,width=4"
    with open_run() as run:
        found = teachers.committee(names, split, space, RECIPE, run)
    assert [teacher.network for teacher in found] == [
        NETWORK.replace("width=4,norm=batch", "norm=batch,width=4"),
        "convnet-d2:norm=batch,width=4",
    ]
    cost = teachers.committee_cost(names, split, RECIPE)
    assert cost.operations == sum(teacher.operations for teacher in found)


@pytest.mark.parametrize("names", ["", "resnet18+", "resnet18 + resnet18"])
def test_a_committee_names_different_teachers(names: str) -> None:
    with pytest.raises(BadInput, match="a committee is different teachers joined by"):
        teachers.members(names)


def test_two_spellings_are_one_teacher(split: Split, space: Preprocessing, open_run: Open) -> None:
    names = "convnet-d1:width=4,norm=batch + convnet-d1:norm=batch,width=4"
    with open_run() as run, pytest.raises(BadInput, match="are spellings of one"):
        teachers.committee(names, split, space, RECIPE, run)


def test_sets_record_accuracy_and_cost_and_keep_seconds_outside_their_identity(
    split: Split, space: Preprocessing, open_run: Open
) -> None:
    with open_run() as run:
        teacher = teachers.train_teacher(split, space, NETWORK, RECIPE, run)
    told = teachers.provenance([teacher])
    (facts,) = told["teachers"]
    assert facts["accuracy"] == teacher.accuracy
    assert facts["operations"] == teachers.training_cost(split, NETWORK, RECIPE).operations > 0
    assert facts["recipe"] == RECIPE.spec()
    assert facts["state"] == checksum(teacher.state)
    assert facts["accuracy_on"] == "the held-out tenth of the training split"
    assert "seconds" not in str(facts)
    assert told["volatile"]["teacher_seconds"] == {teacher.name: round(teacher.seconds, 1)}


def test_weights_of_a_file_are_loaded_and_measured(
    split: Split, space: Preprocessing, open_run: Open, tmp_path: Path
) -> None:
    with open_run() as run:
        ours = teachers.train_teacher(split, space, NETWORK, RECIPE.replace(epochs=10), run)
        assert ours.accuracy > 0.6
        wrapped = {f"module.{name}": value for name, value in ours.state.items()}
        torch.save({"state_dict": wrapped, "best_acc": np.float64(0.9)}, tmp_path / "a.pt")
        files.write_tensors(tmp_path / "b.safetensors", ours.state)
        for name in ("a.pt", "b.safetensors"):
            found = teachers.teacher(f"{NETWORK}@{tmp_path / name}", split, space, RECIPE, run)
            assert same(found, ours)
            assert found.name == f"{ours.network}@{name}#{checksum(ours.state)[:16]}"
            assert (found.trained_on, found.recipe) == ("unknown images", None)
            assert found.accuracy_on == "a tenth of the training split, which it may have learned from"


def test_a_file_is_known_by_its_weights_not_by_its_place(
    split: Split, space: Preprocessing, open_run: Open, tmp_path: Path
) -> None:
    """Two files that have one place after the other are two teachers, and no folder of this machine is told."""
    path = tmp_path / "teacher.pt"
    found = []
    with open_run() as run:
        for epochs in (10, 12):
            state = teachers.train_teacher(split, space, NETWORK, RECIPE.replace(epochs=epochs), run).state
            torch.save(dict(state), path)
            found.append(teachers.teacher(f"{NETWORK}@{path}", split, space, RECIPE, run))
        first, second = found
        assert first.facts()["state"] != second.facts()["state"]
        assert first.name != second.name
        told = provenance(LabelRecipe("teacher", f"{NETWORK}@{path}"), [second])
        assert str(tmp_path) not in str(told)
        assert told["label_recipe"]["teachers"] == second.name
        with_folder = second.name.replace("@", f"@{tmp_path}/")
        assert same(teachers.teacher(with_folder, split, space, RECIPE, run), second)
        with pytest.raises(BadInput, match=r"the teacher .* has others; find its file"):
            teachers.teacher(first.name.replace("@", f"@{tmp_path}/"), split, space, RECIPE, run)


def test_published_weights_are_found_in_the_folder_of_such_files(
    split: Split, space: Preprocessing, open_run: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network of torchvision with a state that lies where PyTorch keeps downloads."""
    models = _torchvision.load("models")
    weights = models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("CONDENSE_DOWNLOAD", raising=False)
    name = "torchvision:shufflenet_v2_x0_5@IMAGENET1K_V1"
    monkeypatch.setitem(weights.meta, "categories", split.classes)
    with (
        pytest.raises(BadInput, match="is missing; set CONDENSE_DOWNLOAD=1 to fetch it from"),
        open_run("missing") as run,
    ):
        teachers.teacher(name, split, space, RECIPE, run)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        original = models.shufflenet_v2_x0_5(num_classes=3).eval()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(original.state_dict(), folder / weights.url.rpartition("/")[2])
    with mock.patch("condense.teachers.pretrained.accuracy", return_value=0.9), open_run() as run:
        found = teachers.teacher(name, split, space, RECIPE, run)
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(found.module()(images), original(images.expand(-1, 3, -1, -1)))
    assert found.preprocessing.spec() == normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).spec()
    assert found.trained_on == "the data of torchvision's weights IMAGENET1K_V1"
    assert found.name == name


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x0_5", "densenet121"])
def test_states_of_torchvisions_own_networks_are_taken(name: str, open_run: Open, tmp_path: Path) -> None:
    """As its oldest files have them: DenseNet's layers by the names of then, and no batch norm with a counter."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        original = _torchvision.load("models").get_model(name, num_classes=3).eval()
    old = re.compile(r"(denselayer\d+\.(norm|conv))(?=[12]\.)")
    state = {old.sub(r"\1.", key): value for key, value in original.state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "theirs.pth")
    images = torch.randint(0, 256, (20, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    split = Split.from_arrays(images, torch.arange(20) % 3, ("one", "two", "three"), flips=False)
    source = f"torchvision:{name}@{tmp_path / 'theirs.pth'}"
    with mock.patch("condense.teachers.pretrained.accuracy", return_value=0.9), open_run() as run:
        found = teachers.teacher(source, split, normalise(split.mean, split.std), RECIPE, run).module()
    backbone = backbones.load(source, split).network.eval()
    seen = images[:2] / 255
    features = found.embed(seen)
    assert torch.equal(found(seen), original(seen))
    assert torch.equal(backbone.embed(seen), features)


def test_a_teacher_that_guesses_is_refused(split: Split, space: Preprocessing, open_run: Open, tmp_path: Path) -> None:
    fresh = networks.build(NETWORK, split.shape, 3)
    torch.save(fresh.state_dict(), tmp_path / "fresh.pt")
    with (
        open_run() as run,
        pytest.raises(BadInput, match=r"training images, no better than guessing; its classes may be in"),
    ):
        teachers.teacher(f"{NETWORK}@{tmp_path / 'fresh.pt'}", split, space, RECIPE, run)


def test_wrong_names_and_files_are_refused(split: Split, space: Preprocessing, open_run: Open, tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "broken.pt").write_bytes(b"no tensors")
    cases = [
        ("mlp@nowhere.pt", BadInput, "nowhere.pt does not exist"),
        (f"mlp@{tmp_path / 'other.pt'}", BadInput, "are not those of its network"),
        (f"mlp@{tmp_path / 'list.pt'}", BadInput, "not a state dict"),
        (f"mlp@{tmp_path / 'broken.pt'}", DamagedFile, "broken.pt"),
        ("mlp@IMAGENET1K_V1", BadInput, "nor a network of torchvision"),
        ("torchvision:resnet18@V7", UnknownName, "unknown weights of torchvision:resnet18 'V7'"),
        ("torchvision:resnet18@IMAGENET1K_V1", BadInput, "knows 1000 classes, the data have 3"),
    ]
    with open_run() as run:
        for name, error, message in cases:
            with pytest.raises(error, match=message):
                teachers.teacher(name, split, space, RECIPE, run)


def test_recipes_are_named_and_fitted() -> None:
    with pytest.raises(UnknownName, match="unknown teacher recipe 'sre2l'"):
        teachers.recipe("sre2l", flips=True)
    for name in teachers.RECIPES:
        assert teachers.recipe(name, flips=True) == teachers.RECIPES[name]
        without = teachers.recipe(name, flips=False)
        assert without.augment is not None
        assert without.augment["flip"] is False
    shorter = teachers.recipe("sre2l-tiny", flips=True, epochs=10)
    assert (shorter.epochs, shorter.schedule.warmup, shorter.schedule.kind) == (10, 1, "cosine")
