"""What is asked of a budget depends on what the method sees."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from contract_cases import dataset, working_in

from condense import api, distilled, method, methods
from condense.api import distilling
from condense.budget import Budget
from condense.errors import BadInput
from condense.method import Preset

PLUGINS = Path(__file__).parent.parent / "contract" / "plugins"


@pytest.fixture
def long_tailed(tmp_path: Path) -> Iterator[api.Place]:
    """36 images, two of them of the last class."""
    labels = torch.tensor([0] * 20 + [1] * 14 + [2] * 2)
    with working_in(tmp_path, dataset(labels)):
        yield api.Place(cache_dir=tmp_path / "cache")


def test_a_small_class_does_not_stop_a_method_that_sees_no_classes(long_tailed: api.Place) -> None:
    folder = api.distill(str(PLUGINS / "unlabelled_input.py"), "tiny", budget=Budget(ipc=5), place=long_tailed)
    assert len(distilled.load(folder)) == 15
    with pytest.raises(BadInput, match="class 'three' has 2 training images, 5 were asked for"):
        api.distill("random", "tiny", budget=Budget(ipc=5), place=long_tailed)


def test_a_plugin_that_returns_no_set_is_told_so(long_tailed: api.Place, tmp_path: Path) -> None:
    plugin = (PLUGINS / "unlabelled_input.py").read_text()
    (tmp_path / "forgetful.py").write_text(plugin + "\n\ndef distill(train, budget, config, run):\n    pass\n")
    with pytest.raises(BadInput, match=r"forgetful\.distill returned NoneType, expected a DistilledSet"):
        api.distill(str(tmp_path / "forgetful.py"), "tiny", budget=Budget(ipc=5), place=long_tailed)


def test_it_cannot_have_more_images_than_there_are(long_tailed: api.Place) -> None:
    with pytest.raises(BadInput, match="asks for 39 images, the training split has 36"):
        api.distill(str(PLUGINS / "unlabelled_input.py"), "tiny", budget=Budget(ipc=13), place=long_tailed)


@pytest.mark.parametrize(
    ("preset", "overrides", "changed"),
    [(None, {}, []), ("cpu", {"epochs": "20", "lr": "0.5"}, ["lr"]), ("cpu", {"epochs": 3}, ["epochs"])],
)
def test_what_was_changed_from_the_preset_is_recorded(preset, overrides, changed) -> None:
    @dataclasses.dataclass(frozen=True)
    class Config:
        epochs: int = 20
        lr: float = 0.1

    module = types.SimpleNamespace(
        __file__="plugin.py",
        ABOUT=methods.get("random").about,
        Config=Config,
        PRESETS={"cpu": Preset(Config(), "test")},
        distill=lambda train, budget, config, run: None,
        cost=None,
    )
    base = method.plugin("plugin", module).config(preset)
    assert distilling._changed(base, method.with_overrides("plugin", base, overrides)) == changed
