"""What the presets promise, added up."""

from __future__ import annotations

import dataclasses

import pytest

from condense import methods
from condense.method import field_comments

# Of the ten minutes of `make bench`: the rest is for the installation and for starting processes.
SECONDS_FOR_METHODS = 420.0


@pytest.mark.parametrize("name", methods.built_in())
def test_the_cpu_preset_keeps_its_seconds(name: str) -> None:
    preset = methods.get(name).presets["cpu"]
    assert preset.distill_seconds is not None
    assert 0 < preset.distill_seconds <= 15.0
    assert preset.judge_seconds is not None
    assert 0 < preset.judge_seconds <= 5.0


def test_all_cpu_presets_together_fit_into_the_benchmark() -> None:
    presets = [methods.get(name).presets["cpu"] for name in methods.built_in()]
    assert sum(preset.distill_seconds + preset.judge_seconds for preset in presets) <= SECONDS_FOR_METHODS


@pytest.mark.parametrize("name", methods.built_in())
def test_every_setting_says_what_it_is(name: str) -> None:
    config_type = methods.get(name).config_type
    comments = field_comments(config_type)
    assert {field.name for field in dataclasses.fields(config_type)} == set(comments)
    assert all(comments.values())
