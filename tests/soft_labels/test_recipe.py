"""Label recipes: data that says how any set is labelled."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from label_cases import COUNT

from condense.data import Split
from condense.distilled.labels import (
    FULL,
    Codec,
    Committee,
    CommitteeLabels,
    HardLabels,
    QuantisedLabels,
    RegionLabels,
    SoftLabels,
    restore,
)
from condense.distilled.views import PlainView
from condense.errors import BadInput, DamagedFile, UnknownName
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.soft_labels import LabelRecipe, answering_cost, fixed, label

CLASSES = torch.arange(COUNT) // 3
TINY = {"teachers": "mlp:width=4 + convnet-d1:norm=batch,width=4", "training": "tiny-images", "training_epochs": 1}


def test_fixed_labels_are_the_committees_logits(view: PlainView, wise: Callable[..., Committee]) -> None:
    asked = wise().logits_for(view.gather(torch.arange(COUNT)))
    labels = fixed(view, wise())
    assert isinstance(labels, SoftLabels)
    assert (labels.form, labels.temperature, labels.values.dtype) == ("logits", 1.0, torch.float16)
    torch.testing.assert_close(labels.values, asked.half())
    quantised = fixed(view, wise(), codec=Codec("smoothed", 2))
    assert isinstance(quantised, QuantisedLabels)
    assert (quantised.form, quantised.temperature) == ("probabilities", 2.0)


def test_averaged_probabilities_are_kept_at_their_temperature(view: PlainView, wise: Callable[..., Committee]) -> None:
    """As logits they would be softened a second time by whoever trains on them (MEAL V2)."""
    committee = wise(average="probabilities")
    expected = committee.targets_for(view.gather(torch.arange(COUNT)))
    labels = fixed(view, committee)
    assert isinstance(labels, SoftLabels)
    assert (labels.form, labels.temperature) == ("probabilities", 2.0)
    torch.testing.assert_close(labels.values.double(), expected.double(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("codec", "truth"),
    [(FULL, 0.0), (FULL, 0.2), (Codec("smoothed", 2), 0.0), (Codec("smoothed", 2), 0.2), (Codec("logits", 1), 0.0)],
)
def test_fixed_labels_keep_the_class_that_an_image_was_made_for(
    view: PlainView, wise: Callable[..., Committee], codec: Codec, truth: float
) -> None:
    """A protocol on hard labels judges it, not what the committee takes the image for."""
    plain = fixed(view, wise(), codec=codec)
    other = (plain.hard() + 1) % 3
    labels = fixed(view, wise(), codec=codec, classes=other, ground_truth=truth)
    assert torch.equal(labels.hard(), other)
    assert labels.nbytes() == plain.nbytes() + COUNT
    again = restore(labels.spec(), labels.tensors(), Path("labels"))
    assert torch.equal(again.hard(), other)
    every = torch.arange(COUNT)
    assert torch.equal(again.view(0, 0, every).target, labels.view(0, 0, every).target)
    with pytest.raises(DamagedFile, match="lacks the tensor 'labels_hard'"):
        restore(labels.spec(), plain.tensors(), Path("labels"))


def test_a_ground_truth_is_mixed_into_fixed_labels(view: PlainView, wise: Callable[..., Committee]) -> None:
    labels = fixed(view, wise(), classes=CLASSES, ground_truth=0.25)
    asked = wise().targets_for(view.gather(torch.arange(COUNT)))
    expected = 0.75 * asked + 0.25 * torch.nn.functional.one_hot(CLASSES, 3)
    torch.testing.assert_close(labels.view(0, 0, torch.arange(COUNT)).target, expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"kind": "hard"}, HardLabels),
        ({"kind": "teacher", **TINY}, CommitteeLabels),
        ({"kind": "fixed", **TINY}, SoftLabels),
        ({"kind": "fixed", "codec": "renormalised", "k": 2, **TINY}, QuantisedLabels),
        ({"kind": "regions", "epochs": 1, "batch": 4, **TINY}, RegionLabels),
    ],
)
def test_a_recipe_labels_any_images(
    fields: dict[str, object],
    kind: type,
    view: PlainView,
    train: Split,
    space: Preprocessing,
    open_run: Callable[..., Run],
) -> None:
    recipe = LabelRecipe.from_spec(fields)
    labels = label(recipe, view, CLASSES, train, space, open_run())
    assert isinstance(labels, kind)
    assert "hard" in labels.offers
    assert LabelRecipe.from_spec(recipe.spec()) == recipe


def test_a_recipe_says_what_differs_from_the_defaults() -> None:
    assert LabelRecipe("fixed", "a+b", weights=(1.0, 2.0)).spec() == {
        "kind": "fixed",
        "teachers": "a+b",
        "weights": [1.0, 2.0],
    }


def test_a_recipe_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean regions"):
        LabelRecipe("region", "a")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="need teachers"):
        LabelRecipe("fixed")
    with pytest.raises(UnknownName, match="did you mean temperature"):
        LabelRecipe.from_spec({"kind": "hard", "temprature": 3})
    with pytest.raises(BadInput, match=r"epochs.*got 'many'"):
        LabelRecipe.from_spec({"kind": "hard", "epochs": "many"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "hard", "temperature": 3.0}, "have no temperature"),
        ({"kind": "hard", "teachers": "a"}, "have no teachers"),
        ({"kind": "teacher", "teachers": "a", "epochs": 3, "codec": "logits"}, "have no codec, epochs; leave that out"),
        ({"kind": "teacher", "teachers": "a", "ground_truth": 0.1}, "have no ground_truth"),
        ({"kind": "fixed", "teachers": "a", "batch": 3}, "have no batch"),
        ({"kind": "fixed", "teachers": "a", "linear": True}, "have no linear"),
        ({"kind": "regions", "teachers": "a", "ground_truth": 0.1}, "have no ground_truth"),
        ({"kind": "regions", "teachers": "a", "k": 3}, "k belongs to a codec"),
        ({"kind": "regions", "teachers": "a", "mix": None, "mix_alpha": 0.5}, "mix_alpha to a mix"),
        ({"kind": "fixed", "teachers": "a", "ground_truth": 0.1}, "a class has no temperature"),
        ({"kind": "fixed", "teachers": "a", "ground_truth": "estimated"}, "a class has no temperature"),
        ({"kind": "fixed", "teachers": "a", "ground_truth": 1.5, "temperature": 1.0}, r"in \[0, 1\] or estimated"),
        ({"kind": "fixed", "teachers": "a", "ground_truth": "guessed"}, "got 'guessed'"),
        ({"kind": "teacher", "teachers": "a", "ground_truth": "estimated"}, "have no ground_truth"),
        (
            {"kind": "regions", "teachers": "a", "linear": True, "calibration": {"low": 0.1}, "codec": "smoothed"},
            "which codec=smoothed cannot keep",
        ),
        ({"kind": "teacher", "teachers": "a", "temperature": 0.0}, "need a temperature above 0"),
        ({"kind": "regions", "teachers": "a", "epochs": 0}, "at least one epoch"),
        ({"kind": "regions", "teachers": "a", "norm_group": 1}, "at least two samples, got norm_group=1"),
        ({"kind": "regions", "teachers": "a", "calibration": {"low": 0.9}}, "0 <= low <= high"),
        ({"kind": "regions", "teachers": "a", "calibration": {"low": 0.1}}, "use linear=true"),
        ({"kind": "fixed", "teachers": "a+b", "weights": [1.0, 1.0, 1.0]}, "for each of 2 members"),
        ({"kind": "fixed", "teachers": "a+b", "weights": [2.0, -1.0]}, "at least 0 for each of 2 members"),
        ({"kind": "fixed", "teachers": "a+b", "weights": [1.0, math.inf]}, "for each of 2 members"),
        ({"kind": "regions", "teachers": "a", "linear": True, "codec": "logits"}, "codec=logits keeps logits"),
        (
            {"kind": "fixed", "teachers": "a", "ground_truth": 0.5, "temperature": 1.0, "codec": "logits"},
            "codec=logits keeps logits",
        ),
        (
            {"kind": "fixed", "teachers": "a+b", "average": "probabilities", "codec": "logits"},
            "codec=logits keeps logits",
        ),
        ({"kind": "fixed", "teachers": "a", "statistics": "batch"}, "would depend on the images that happen to be"),
    ],
)
def test_a_field_that_would_be_ignored_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        LabelRecipe.from_spec(fields)


def test_hard_labels_need_classes(view: PlainView, train: Split, space: Preprocessing, open_run: Callable) -> None:
    with pytest.raises(BadInput, match="no class per image"):
        label(LabelRecipe("hard"), view, None, train, space, open_run())


@pytest.mark.parametrize("kind", ["regions", "teacher"])
def test_batch_statistics_without_batch_norm_are_refused_when_announced(kind: Any, train: Split) -> None:
    with pytest.raises(BadInput, match=r"mlp \+ lenet has no batch norm, so no batch statistics; use statistics=runn"):
        answering_cost(LabelRecipe(kind, "mlp + lenet", statistics="batch"), train, 9)


def test_batch_statistics_of_whole_steps_are_announced_with_their_memory(train: Split) -> None:
    fields = {"teachers": "convnet-d1:width=3,norm=batch", "batch": 1024, "epochs": 1}
    running = answering_cost(LabelRecipe("regions", **fields), train, 9)
    whole = answering_cost(LabelRecipe("regions", **fields, statistics="batch"), train, 9)
    groups, large = (
        answering_cost(LabelRecipe("regions", **fields, statistics="batch", norm_group=size), train, 9)
        for size in (8, 512)
    )
    assert whole.memory_bytes == 4 * running.memory_bytes == 4 * groups.memory_bytes == 2 * large.memory_bytes
    assert whole.operations == running.operations
