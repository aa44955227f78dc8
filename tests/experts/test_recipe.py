from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from condense.augment import DSA
from condense.data import Split
from condense.errors import BadInput, UnknownName
from condense.experts import AST, FTD, MTT, ExpertRecipe


@pytest.mark.parametrize("recipe", [MTT, FTD, AST, ExpertRecipe(augment=None, network="convnet-d2:width=8")])
def test_a_recipe_goes_to_json_and_back(recipe: ExpertRecipe) -> None:
    import json

    assert ExpertRecipe.from_spec(json.loads(json.dumps(recipe.spec()))) == recipe


def test_the_published_recipes_are_those_of_the_papers() -> None:
    assert (MTT.lr, MTT.batch, MTT.momentum, MTT.weight_decay, MTT.optimiser) == (0.01, 256, 0.0, 0.0, "sgd")
    assert (FTD.lr, FTD.optimiser, FTD.rho, FTD.adaptive) == (0.01, "gsam", 0.01, True)
    assert (AST.lr, AST.momentum, AST.weight_decay, AST.gradient_penalty) == (0.003, 0.9, 1e-3, 2.0)


def test_the_clipping_loss_rises_from_one_half_over_ten_epochs() -> None:
    weights = [AST.loss_weight(epoch) for epoch in range(12)]
    assert weights == pytest.approx([0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95, 1.0, 1.0], abs=1e-12)
    assert [MTT.loss_weight(epoch) for epoch in range(3)] == [1.0, 1.0, 1.0]


def test_the_rate_drops_once_and_momentum_restarts_there() -> None:
    assert [AST.rate(epoch) for epoch in (0, 26, 27, 49)] == pytest.approx([0.003, 0.003, 0.0018, 0.0018])
    assert [epoch for epoch in range(50) if AST.restarts(epoch)] == [27]
    assert not any(MTT.restarts(epoch) for epoch in range(50))


def test_recipes_that_train_alike_have_one_identity() -> None:
    assert ExpertRecipe(alpha=1.0, rho=0.5, adaptive=False).identity() == MTT.identity()
    assert ExpertRecipe(network="convnet:width=128").identity() == MTT.identity()
    assert dataclasses.replace(FTD, alpha=1.0).identity() != FTD.identity()
    assert FTD.identity() != MTT.identity()


def test_mirroring_is_left_out_where_it_changes_the_class(train: Split) -> None:
    assert MTT.augmentation(train) == DSA(align_corners=True)
    assert MTT.augmentation(dataclasses.replace(train, flips=False)) == DSA(align_corners=True).without_flip()
    images = torch.rand(2, *train.shape)
    plain = ExpertRecipe(augment=None).augmentation(train)
    assert torch.equal(plain(images, torch.Generator()), images)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": 0.0}, r"lr must be a number above 0, got 0\.0"),
        ({"lr": float("nan")}, "lr must be a number above 0, got nan"),
        ({"momentum": 1.0}, r"momentum must be a number at least 0 and below 1, got 1\.0"),
        ({"batch": 0}, "batch must be a whole number of at least 1, got 0"),
        ({"optimiser": "adam"}, "optimiser must be 'sgd' or 'gsam', got 'adam'"),
        ({"drop": 3}, "drop must be a pair of an epoch number and a factor, or None, got 3"),
        ({"loss_ramp": (-1, 0.5)}, "first number of loss_ramp counts epochs and must be at least 0, got -1"),
        ({"loss_ramp": (10, 2.0)}, r"second number of loss_ramp is a factor in \(0, 1\], got 2\.0"),
    ],
)
def test_a_field_out_of_range_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        ExpertRecipe(**fields)


def test_an_unknown_field_is_refused_with_its_nearest_name() -> None:
    with pytest.raises(UnknownName, match="did you mean momentum"):
        ExpertRecipe.from_spec({"momentun": 0.9})
