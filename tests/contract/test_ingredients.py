"""Switching off an ingredient that a method names changes its result."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract_cases import Case, built_in, content, distil

TOGGLES = [(case, name) for case in built_in() for name in case.plugin.about.ingredients]


@pytest.mark.parametrize(("case", "ingredient"), TOGGLES, ids=[f"{case}-{name}" for case, name in TOGGLES])
def test_an_ingredient_matters(case: Case, ingredient: str, tmp_path: Path) -> None:
    off = case.plugin.about.ingredients[ingredient]
    base = case.overrides(preset=None)
    assert getattr(case.plugin.config(), ingredient) != off, "the default is not the value that switches it off"
    with_it = content(distil(case, tmp_path / "on", preset=None, overrides=base))
    without = content(distil(case, tmp_path / "off", preset=None, overrides={**base, ingredient: off}))
    assert with_it != without
