from __future__ import annotations

import dataclasses

import pytest
import torch

from condense import networks
from condense.data import Split
from condense.experts import AST, FTD, MTT, ExpertRecipe
from condense.experts.engines import choose_engine
from condense.training import Engine, engines

CPU = torch.device("cpu")


def colour_split(count: int) -> Split:
    images = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    images[0, :, 0, 0] = 255
    return Split.from_arrays(images, torch.arange(count) % 10, [str(label) for label in range(10)])


def chosen(recipe: ExpertRecipe, train: Split, device: torch.device = CPU) -> Engine:
    return choose_engine(recipe, networks.build(recipe.network, train.shape, train.n_classes), train, device)


@pytest.fixture(autouse=True)
def a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_compiler", lambda: True)


@pytest.mark.parametrize("recipe", [MTT, FTD, AST])
def test_experts_are_compiled_where_the_work_repays_it(recipe: ExpertRecipe, train: Split) -> None:
    wide = chosen(recipe, colour_split(10_000))
    assert (wide.name, wide.compile, wide.channels_last) == ("sequential", True, True)
    assert chosen(dataclasses.replace(recipe, network="convnet:width=4", batch=8), train) == Engine()


def test_other_devices_get_the_engine_that_is_easiest_to_check() -> None:
    assert chosen(MTT, colour_split(10_000), torch.device("meta")) == Engine()
