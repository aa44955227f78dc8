"""The labels that presets make are those that their paper's own protocol trains on."""

from __future__ import annotations

from typing import Any

import pytest

from condense import methods, soft_labels
from condense.distilled import Offers
from condense.evaluate import protocols
from condense.evaluate.offers import why_not
from condense.soft_labels import LabelRecipe

DECOUPLED = ("sre2l", "cda", "cvdd", "rded", "infer")
OWN = [
    ("sre2l", "released-cifar", "sre2l-cifar"),
    ("sre2l", "released-tiny-imagenet", "sre2l-tiny"),
    ("sre2l", "released-imagenet", "sre2l-imagenet"),
    ("sre2l", "plus-plus-cifar", "cvdd-cifar10"),
    ("sre2l", "plus-plus-cifar", "cvdd-cifar100"),
    ("sre2l", "plus-plus-tiny-imagenet", "cvdd-tiny"),
    ("sre2l", "plus-plus-imagenet", "cvdd-imagenet"),
    ("cda", "cifar", "sre2l-cifar"),
    ("cda", "table-1-tiny-imagenet", "sre2l-tiny"),
    ("cda", "table-1-imagenet", "cda-imagenet"),
    ("cvdd", "table-1-cifar", "cvdd-cifar10"),
    ("cvdd", "table-1-cifar", "cvdd-cifar100"),
    ("cvdd", "table-1-tiny-imagenet", "cvdd-tiny"),
    ("cvdd", "table-1-imagenet", "cvdd-imagenet"),
    ("rded", "cifar", "rded-10"),
    ("rded", "cifar", "rded-100"),
    ("rded", "cifar-conv3", "rded-10"),
    ("rded", "cifar-conv3", "rded-100"),
    ("rded", "tiny-imagenet", "rded-tiny"),
    ("rded", "imagenet-1k", "rded-imagenet"),
    ("infer", "released-cifar", "infer-static"),
    ("infer", "released-cifar-dynamic", "infer-dynamic"),
]
# The authors' evaluation for these data is not public; "cpu" has no paper.
WITHOUT = {
    *((method, "cpu") for method in DECOUPLED),
    *(("infer", preset) for preset in ("tiny-imagenet", "released-imagenet", "released-imagenet-dynamic")),
}
RECIPES = [
    ("sre2l-cifar", "sre2l-cifar"),
    ("sre2l-tiny", "sre2l-tiny"),
    ("sre2l-imagenet", "sre2l-imagenet"),
    ("cda-imagenet", "cda-imagenet"),
    ("rded-cifar", "rded-10"),
    ("rded-cifar", "rded-100"),
    ("rded-tiny", "rded-tiny"),
    ("rded-imagenet", "rded-imagenet"),
    ("cvdd-cifar10", "cvdd-cifar10"),
    ("cvdd-cifar100", "cvdd-cifar100"),
    ("cvdd-tiny", "cvdd-tiny"),
    ("cvdd-imagenet", "cvdd-imagenet"),
    ("infer-cifar", "infer-static"),
    ("quick-replay", "quick-replay"),
]
NATIVE = {"fixed": "soft", "teacher": "teacher", "regions": "replay"}


def check(recipe: LabelRecipe, protocol: Any) -> None:
    """Offered and needed, step for step and at one temperature."""
    views = "set" if recipe.kind == "regions" else "protocol"
    offers = Offers(labels=frozenset({NATIVE[recipe.kind], "hard"}), step_size=False, views=views)
    assert why_not(offers, protocol.needs) is None
    for entry in protocol.panel:
        for samples in (100, 500, 1000, 5000, 50_000):
            training = protocol.recipe_for(entry.network, samples, flips=True)
            assert training.loss.temperature == recipe.temperature
            if recipe.kind == "regions":
                assert training.batch == recipe.batch
                assert training.epochs <= recipe.epochs or samples < recipe.batch


@pytest.mark.parametrize(("method", "preset", "protocol"), OWN)
def test_a_preset_can_be_judged_under_its_own_protocol(method: str, preset: str, protocol: str) -> None:
    plugin = methods.get(method)
    check(plugin.module._labels(plugin.config(preset)), protocols.load(protocol))


@pytest.mark.parametrize(("recipe", "protocol"), RECIPES)
def test_a_named_label_recipe_serves_its_protocol(recipe: str, protocol: str) -> None:
    check(soft_labels.read(recipe), protocols.load(protocol))


def test_every_preset_of_the_family_has_a_protocol_or_a_reason() -> None:
    known = {(method, preset) for method, preset, _ in OWN} | WITHOUT
    assert {(method, preset) for method in DECOUPLED for preset in methods.get(method).presets} == known
