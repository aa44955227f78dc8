"""Giving a saved set other labels: the images stay, the row in tables is another, the same request is found again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from contract_cases import working_in

from condense import api, distilled
from condense.distilled.labels import RegionLabels
from condense.errors import BadInput, UnknownName
from condense.soft_labels import RECIPES, LabelRecipe, read

RECIPE = LabelRecipe(
    "regions", "mlp:width=4", training="tiny-images", training_epochs=1, epochs=2, batch=3, temperature=4.0
)
FIXED = LabelRecipe("fixed", "mlp:width=4", training="tiny-images", training_epochs=1, temperature=1.0).spec()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[api.Place]:
    with working_in(tmp_path):
        yield api.Place(cache_dir=tmp_path / "cache")


@pytest.fixture
def old(place: api.Place) -> Path:
    return api.distill("random", "tiny", ipc=2, place=place)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(RECIPE.spec()))
    return path


def test_the_images_stay_and_the_labels_change(old: Path, recipe: Path, place: api.Place) -> None:
    before = distilled.load(old)
    folder = api.relabel(old, recipe, place=place)
    after = distilled.load(folder)
    assert isinstance(after.labels, RegionLabels)
    assert torch.equal(after.source.indices, before.source.indices)  # type: ignore[union-attr]
    assert torch.equal(after.labels.hard(), before.labels.hard())
    made = after.provenance
    assert (made["method"], made["preset"], made["seed"]) == ("random", "default, labels mine", 0)
    assert made["config"]["label_recipe"] == RECIPE.spec()
    cost, earlier = made["volatile"], before.provenance["volatile"]
    assert cost["seconds"] > earlier["seconds"]  # of making the images
    assert cost["shared_seconds"] > earlier["shared_seconds"] == 0  # the teacher, in the cache or not
    assert made["relabelled"] == {"from": before.id, "labels": "mine", "seed": 0}
    assert [teacher["network"] for teacher in made["teachers"]] == ["mlp:width=4"]
    assert distilled.verify(folder) == []
    assert distilled.load(old).id == before.id


def test_the_teachers_that_images_come_from_are_told_beside_those_of_the_labels(
    old: Path, recipe: Path, place: api.Place, tmp_path: Path
) -> None:
    made, wise = distilled.load(old), [{"network": "mlp:width=2", "accuracy": 0.5}]
    distilled.save(dataclasses.replace(made, provenance={**made.provenance, "teachers": wise}), tmp_path / "recovered")
    once = api.relabel(tmp_path / "recovered", recipe, place=place)
    for folder in (once, api.relabel(once, recipe, seed=1, place=place)):
        found = distilled.load(folder).provenance
        assert found["image_teachers"] == wise
        assert [teacher["network"] for teacher in found["teachers"]] == ["mlp:width=4"]


def test_a_finished_request_is_found_again(old: Path, recipe: Path, place: api.Place) -> None:
    folder = api.relabel(old, recipe, place=place)
    stamp = (folder / "set.json").stat().st_mtime_ns
    assert api.relabel(old, recipe, place=place) == folder
    assert (folder / "set.json").stat().st_mtime_ns == stamp
    assert api.relabel(old, recipe, seed=1, place=place) != folder


def test_another_set_lends_its_labels_with_its_teachers(old: Path, recipe: Path, place: api.Place) -> None:
    first = api.relabel(old, recipe, place=place)
    other = api.distill("random", "tiny", ipc=2, seed=1, place=place)
    second = api.relabel(other, first, seed=0, place=place)
    ours, theirs = (distilled.load(folder) for folder in (first, second))
    assert ours.provenance["label_recipe"] == theirs.provenance["label_recipe"]
    assert ours.provenance["teachers"] == theirs.provenance["teachers"]
    assert ours.labels.spec() == theirs.labels.spec()
    assert theirs.provenance["preset"] == "default, labels mine"  # not the lender's folder
    with pytest.raises(BadInput, match="does not record how it was labelled"):
        api.relabel(first, old, place=place)


def test_labels_of_a_method_are_called_after_it(old: Path, recipe: Path, place: api.Place, tmp_path: Path) -> None:
    made = distilled.load(api.relabel(old, recipe, place=place))
    own = {name: value for name, value in made.provenance.items() if name != "relabelled"} | {"method": "cvdd"}
    distilled.save(dataclasses.replace(made, provenance=own), tmp_path / "some-folder")
    borrowed = distilled.load(api.relabel(old, tmp_path / "some-folder", seed=1, place=place))
    assert borrowed.provenance["preset"] == "default, labels of cvdd"


def test_an_estimated_weight_of_the_classes_is_told_and_used(old: Path, place: api.Place, tmp_path: Path) -> None:
    def relabelled(weight: float | str) -> distilled.DistilledSet:
        path = tmp_path / f"{weight}.json"
        path.write_text(json.dumps({**FIXED, "ground_truth": weight}))
        return distilled.load(api.relabel(old, path, place=place))

    estimated = relabelled("estimated")
    told = estimated.provenance["ground_truth"]
    assert told["value"] == (0.1 if told["deviation"] > 1 else min(1.0, max(0.0, told["raw"])))
    assert estimated.provenance["label_recipe"]["ground_truth"] == "estimated"  # of another set it is another number
    given = relabelled(told["value"])
    assert torch.equal(estimated.labels.tensors()["labels_soft"], given.labels.tensors()["labels_soft"])
    assert "ground_truth" not in given.provenance


def test_a_misspelt_recipe_names_the_nearest(old: Path, place: api.Place) -> None:
    with pytest.raises(UnknownName, match="did you mean cvdd-cifar10"):
        api.relabel(old, "cvdd-cifar-10", place=place)


@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_is_plain_data_and_its_votes_add_up(name: str) -> None:
    recipe = read(name)
    assert LabelRecipe.from_spec(json.loads(json.dumps(recipe.spec()))) == recipe
    if recipe.weights is not None:
        assert sum(recipe.weights) == pytest.approx(1.0)
        assert len(recipe.weights) == len(recipe.teachers.split("+"))


def test_votes_are_those_of_the_papers_priors() -> None:
    """Softmax of prior performance over 10, as worked out for two of the data sets."""
    assert read("cvdd-cifar100").weights == pytest.approx((0.323, 0.230, 0.093, 0.204, 0.151), abs=6e-4)
    assert read("cvdd-imagenet").weights == pytest.approx((0.413, 0.101, 0.279, 0.122, 0.085), abs=6e-4)
