"""Switching an ingredient that a method names changes its result."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract_cases import Case, built_in, content, dataset, distil

TOGGLES = [(case, name) for case in built_in() for name in case.plugin.about.ingredients]


@pytest.mark.parametrize(("case", "ingredient"), TOGGLES, ids=[f"{case}-{name}" for case, name in TOGGLES])
def test_an_ingredient_matters(case: Case, ingredient: str, tmp_path: Path) -> None:
    other = case.plugin.about.ingredients[ingredient]
    base = case.overrides(preset=None)
    source = dataset(flips=True)  # mirror images are refused elsewhere
    assert getattr(case.plugin.config(), ingredient) != other, "the default is not the value that switches it"
    default = content(distil(case, tmp_path / "default", preset=None, overrides=base, source=source))
    changes = {**base, ingredient: other}
    assert content(distil(case, tmp_path / "other", preset=None, overrides=changes, source=source)) != default
