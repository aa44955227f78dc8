from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.errors import BadInput
from condense.training import Loss, Recipe, Schedule

RECIPES = [
    Recipe(epochs=3),
    Recipe.matching(1000, augment={"kind": "dsa", "ops": ["flip"]}),
    Recipe(7, 32, "adamw", 1e-3, betas=(0.5, 0.9), schedule=Schedule("cosine", stretch=2.0, warmup=2), drop_last=True),
    Recipe(
        5, loss=Loss("kl", 20.0, square_factor=True), mix={"kind": "cutmix"}, precision="bfloat16", decay="matrices"
    ),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert Recipe.from_spec(json.loads(json.dumps(recipe.spec()))) == recipe


def test_fields_left_out_keep_their_defaults() -> None:
    assert Recipe.from_spec({"epochs": 3, "schedule": {"kind": "cosine"}}) == Recipe(3, schedule=Schedule("cosine"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "a recipe needs the field 'epochs'"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"epochs": 2.5}, "epochs must be a whole number of at least 1, got 2.5"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"epochs": 2, "batchsize": 3}, "unknown recipe field 'batchsize'; did you mean batch"),
        ({"epochs": 2, "lr": 0}, "lr must be above 0, got 0"),
        ({"epochs": 2, "lr": float("nan")}, "lr must be a finite number"),
        ({"epochs": 2, "lr": "0.1"}, "lr must be a finite number, got '0.1'"),
        ({"epochs": 2, "momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
        ({"epochs": 2, "optimiser": "lamb"}, "optimiser must be one of sgd, adam, adamw; got 'lamb'"),
        ({"epochs": 2, "precision": "float16"}, "precision must be one of float32, bfloat16, float64"),
        ({"epochs": 2, "loss": "mse"}, "a loss must be a JSON object of fields, got 'mse'"),
        ({"epochs": 2, "loss": {"kind": "hinge"}}, "loss must be one of cross-entropy, kl, mse; got 'hinge'"),
        ({"epochs": 2, "nesterov": True, "momentum": 0.0}, "nesterov needs optimiser 'sgd' with a momentum above 0"),
        ({"epochs": 2, "betas": [0.9]}, "betas must be two numbers"),
        ({"epochs": 2, "betas": 0.9}, "betas must be a list of two numbers, got 0.9"),
        ({"epochs": 9, "schedule": {"kind": "drop-restart"}}, "'after' .* belongs to drop-restart, and only to it"),
        ({"epochs": 9, "schedule": {"after": 3}}, "'after' .* belongs to drop-restart, and only to it"),
        ({"epochs": 9, "schedule": {"kind": "drop-restart", "after": 8}}, "the last of 9 epochs has index 8; lower"),
        ({"epochs": 9, "schedule": {"kind": "cosine", "warmup": 9}}, "warm-up of 9 epochs does not fit"),
        ({"epochs": 9, "schedule": {"kind": "linear"}}, "schedule must be one of constant, drop-restart"),
        ({"epochs": 9, "schedule": {"kind": "one-cycle", "warmup": 1}}, "goes with constant or cosine"),
    ],
)
def test_a_wrong_field_is_named(spec: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Recipe.from_spec(spec)


@given(st.integers(1, 40), st.integers(1, 60), st.booleans())
def test_every_sample_is_seen_once_unless_the_last_batch_is_dropped(batch: int, samples: int, drop: bool) -> None:
    recipe = Recipe(1, batch, drop_last=drop)
    sizes = [len(rows) for rows in torch.arange(samples).split(batch)][: recipe.steps_per_epoch(samples)]
    assert sum(sizes) == samples if not drop or samples < batch else sum(sizes) == samples // batch * batch
    assert recipe.batch_sizes(samples) == sorted(set(sizes), reverse=True)


def test_the_matching_papers_make_1001_epochs_and_drop_once_after_index_501() -> None:
    recipe = Recipe.matching(1000)
    assert (recipe.epochs, recipe.batch, recipe.lr, recipe.momentum, recipe.weight_decay) == (
        1001,
        256,
        0.01,
        0.9,
        5e-4,
    )
    rates = [recipe.schedule.multiplier(epoch, 0, 1, recipe.epochs) for epoch in range(recipe.epochs)]
    assert rates == [1.0] * 502 + [0.1] * 499
    assert [epoch for epoch in range(recipe.epochs) if recipe.schedule.restarts(epoch)] == [502]


def test_a_set_smaller_than_the_batch_makes_one_step_an_epoch() -> None:
    assert Recipe.matching(1000).epochs * Recipe.matching(1000).steps_per_epoch(10) == 1001
    assert Recipe.matching(1000).epochs * Recipe.matching(1000).steps_per_epoch(500) == 2002
