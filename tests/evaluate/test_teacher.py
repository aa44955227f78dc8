"""A protocol's own teacher: one for all sets, trained on the training split, cached, blind to the test split."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from condense.distilled import DistilledSet, Representations
from condense.evaluate import teacher as teachers
from condense.evaluate.judge import judge
from condense.evaluate.teacher import teacher_labels
from condense.preprocessing import fit, identity, normalise
from condense.run import Run
from condense.training import SplitSource, accuracy

TEACHER = {
    "network": "mlp:width=8",
    "temperature": 2.0,
    "recipe": {"epochs": 30, "batch": 12, "lr": 0.1, "schedule": {"kind": "cosine"}},
}


@pytest.fixture
def protocol(make_protocol):
    recipe = make_protocol().recipe | {"loss": {"kind": "kl", "temperature": 2.0}}
    return make_protocol(track="common-soft", recipe=recipe, needs={"labels": "none"}, teacher=TEACHER)


@pytest.fixture
def run(tmp_path):
    with Run(tmp_path / "run", seed=0, cache_dir=tmp_path / "cache") as opened:
        yield opened


def cells_of(judged, dataset, protocol, run):
    return [cell for _, cell in judge(judged.training_view(), dataset, protocol, run=run)]


def test_every_set_is_relabelled_whatever_its_labels(synthetic, softened, dataset, protocol, run):
    nameless = dataclasses.replace(synthetic, labels=Representations(torch.ones(12, 5)), step_size=3.0)
    scores = [
        [cell.accuracy for cell in cells_of(each, dataset, protocol, run)] for each in (synthetic, softened, nameless)
    ]
    assert scores[0] == scores[1] == scores[2]
    assert max(scores[0])[0] > 0.4  # three classes: the labels carry something


def test_the_teacher_is_trained_once_for_all_sets(synthetic, softened, dataset, protocol, run, monkeypatch):
    trained = []
    train = teachers.train
    monkeypatch.setattr(teachers, "train", lambda *args, **more: trained.append(train(*args, **more)))
    cells_of(synthetic, dataset, protocol, run)
    cells_of(softened, dataset, protocol, run)
    assert len(trained) == 1


def test_the_teacher_sees_the_training_split_only(dataset, protocol, run):
    labels = teacher_labels(protocol, dataset.train, identity(), run)
    network = labels._module
    assert accuracy(network, SplitSource(dataset.train, normalise((0.5,), (0.3,)))) > 0.7
    other = dataclasses.replace(dataset, test=None, fingerprint="e" * 64)
    again = teacher_labels(protocol, other.train, identity(), run)
    assert all(torch.equal(value, again.state[name]) for name, value in labels.state.items())


def test_the_teacher_judges_the_pixels_whatever_the_space_of_the_set(dataset, protocol, run):
    pixels = dataset.train.take(torch.arange(6))
    spaces = [identity(), normalise((0.5,), (0.3,)), normalise((0.1,), (2.0,)), fit("zca", dataset.train)]
    answers = [
        teacher_labels(protocol, dataset.train, space, run).targets_for(space.forward(pixels)) for space in spaces
    ]
    for answer in answers:
        # 1e-4: whitening and back costs some digits of float32
        torch.testing.assert_close(answer, answers[0], rtol=0, atol=1e-4)
        torch.testing.assert_close(answer.sum(1), torch.ones(6))
    assert answers[0].std() > 0.05


def test_moving_the_labels_keeps_their_answers(dataset, protocol, run):
    labels = teacher_labels(protocol, dataset.train, identity(), run)
    images = torch.rand(2, 1, 4, 4)
    assert torch.equal(labels.to("cpu").targets_for(images), labels.targets_for(images))


def test_a_whole_training_set_is_relabelled_too(dataset, protocol, run):
    everything = DistilledSet.selection(torch.arange(len(dataset.train)), dataset.train, identity())
    assert [cell.status for cell in cells_of(everything, dataset, protocol, run)] == ["ok"] * 4
