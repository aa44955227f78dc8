"""The validator: accuracy on held-out training images, for methods that must choose something."""

from __future__ import annotations

import dataclasses
import statistics

import pytest
import torch

from condense.data import validation_split
from condense.distilled import DistilledSet, HardLabels, Representations
from condense.errors import BadInput
from condense.evaluate import protocol, validator
from condense.evaluate.judge import judge
from condense.evaluate.validator import make_validator
from condense.preprocessing import normalise
from condense.run import Run


@pytest.fixture
def tiny(make_protocol, monkeypatch):
    """Stands for the `validation` protocol, which trains for longer than a test should."""
    chosen = make_protocol(panel=[{"network": "mlp:width=8"}])
    monkeypatch.setattr(validator, "load", lambda name: {"validation": chosen}[name])
    return chosen


def test_it_scores_as_the_judge_does_on_the_held_out_part(synthetic, dataset, tiny):
    _, held = validation_split(dataset.train)
    score = make_validator(held)(synthetic)
    cells = [cell for _, cell in judge(synthetic.training_view(), dataclasses.replace(dataset, test=held), tiny)]
    assert score == statistics.fmean(value for cell in cells for value in cell.accuracy)


def test_it_tells_a_good_set_from_a_mislabelled_one(synthetic, dataset, tiny):
    validate = make_validator(dataset.test)
    wrong = dataclasses.replace(synthetic, labels=HardLabels((synthetic.labels.hard() + 1) % 3, 3))
    assert validate(synthetic) > 0.5 > validate(wrong)
    assert validate(synthetic) == validate(synthetic)


def test_a_selection_made_on_the_kept_part_is_validated(dataset, tiny, tmp_path):
    kept, held = validation_split(dataset.train)
    selection = DistilledSet.selection(torch.arange(0, len(kept), 3), kept, normalise((0.5,), (0.3,)))
    with Run(tmp_path, seed=0, validator=make_validator(held)) as run:
        assert 0.0 < run.validate(selection) <= 1.0


def test_a_set_that_diverges_is_never_chosen(synthetic, dataset, tiny, monkeypatch):
    monkeypatch.setitem(tiny.recipe, "lr", 1e30)
    assert make_validator(dataset.test)(synthetic) == 0.0


def test_a_set_without_classes_cannot_be_validated(synthetic, dataset, tiny):
    targets = dataclasses.replace(synthetic, labels=Representations(torch.ones(12, 5)))
    with pytest.raises(BadInput, match="cannot be validated: the protocol trains on a class per image"):
        make_validator(dataset.test)(targets)


def test_the_shipped_protocol_is_cheap_and_needs_no_teacher():
    shipped = protocol.load("validation")
    assert shipped.teacher is None
    assert shipped.max_updates * shipped.seeds * len(shipped.networks((3, 32, 32))) <= 1200
