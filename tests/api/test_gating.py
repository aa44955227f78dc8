"""The gate of a self-supervised teacher, as a user asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from condense import api, files, methods
from condense.api import Place
from condense.cli import main
from condense.data import load
from condense.errors import BadInput
from condense.method import with_overrides
from condense.run import Run
from condense.self_supervised import Gate, teacher_features, teacher_for

SMALL = {
    "teacher_network": "convnet-d1:norm=batch,width=4",
    "teacher_epochs": "1",
    "teacher_projector": "8",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(cache_dir=tmp_path / "cache")


def test_the_weights_that_are_kept_are_those_of_the_method_that_asks(place: Place) -> None:
    found = api.gate(
        "krr_st", "digits[0-4]", preset="cpu", overrides=SMALL, weights=Path("teacher.safetensors"), place=place
    )
    assert found.weights is not None
    assert 0 <= found.gate.random <= 1
    again = api.gate("random_teacher", "digits[0-4]", overrides={**SMALL, "teacher": found.weights}, place=place)
    assert again.gate.teacher == pytest.approx(found.gate.teacher, abs=0.02)
    assert again.weights is None
    assert not list(api.WORK.glob("*")), "nothing to continue is left"
    with Run("run", seed=0, cache_dir=place.cache_dir) as run:
        config = with_overrides("krr_st", methods.get("krr_st").config("cpu"), SMALL)
        train = load("digits[0-4]").train
        teacher = teacher_for(train.unlabelled(), config, run)
        kept = files.read_tensors(Path(found.weights.partition("@")[2]))
        assert all(torch.equal(part, kept[name]) for name, part in teacher.network.state_dict().items())
        assert teacher_features(train, teacher, run).shape == (len(train), teacher.dim)


def test_a_method_without_such_a_teacher_is_refused(place: Place) -> None:
    with pytest.raises(BadInput, match=r"sre2l asks no self-supervised teacher; those that do are .*krr_st"):
        api.gate("sre2l", "digits", place=place)


def test_weights_get_a_name_that_can_be_read_again(place: Place) -> None:
    with pytest.raises(BadInput, match=r"weights are written as FILE\.safetensors"):
        api.gate("krr_st", "digits", preset="cpu", weights=Path("teacher.pt"), place=place)


@pytest.mark.parametrize(
    ("random", "code", "word", "advice"),
    [
        (0.5, 0, "passed", ""),
        (0.65, 1, "not passed", "train it for longer"),
        (0.95, 1, "not passed", "none could be, since these reach 95.00 % here"),
    ],
)
def test_the_command_says_whether_it_passed(
    random: float,
    code: int,
    word: str,
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[tuple[object, ...]] = []

    def gate(method: str, dataset: str, **named: object) -> api.Gated:
        asked.append((method, dataset, named["preset"], named["overrides"], named["weights"]))
        return api.Gated(Gate(teacher=0.7, random=random), "convnet@/here/file")

    monkeypatch.setattr(api, "gate", gate)
    words = ["gate", "krr_st", "--dataset", "digits", "--preset", "cpu", "--set", "teacher_epochs=3", "--quiet"]
    assert main([*words, "--weights", "file"]) == code
    assert asked == [("krr_st", "digits", "cpu", {"teacher_epochs": "3"}, Path("file"))]
    said = capsys.readouterr()
    assert said.out == f"70.00\t{100 * random:.2f}\t{word}\nconvnet@/here/file\n"
    assert advice in said.err
    assert bool(said.err) == bool(code)
