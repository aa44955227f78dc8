"""Switching an ingredient that a method names changes its result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract_cases import Case, built_in, content, dataset, distil

# By three held-out images the members of a tiny committee are often equally good, and votes by that are equal votes.
STATED: dict[str, dict[str, Any]] = {"cvdd": {"priors": "90+30"}}
TOGGLES = [(case, name) for case in built_in() for name in case.plugin.about.ingredients]


@pytest.fixture(scope="session")
def by_default(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], dict[str, bytes]]:
    """The bytes of a method's set without a switch touched, made once for all its ingredients."""
    made: dict[str, dict[str, bytes]] = {}

    def of(case: Case) -> dict[str, bytes]:
        if case.name not in made:
            made[case.name] = distil_paper(case, tmp_path_factory.mktemp(case.name), {})
        return made[case.name]

    return of


def distil_paper(case: Case, folder: Path, changes: dict[str, Any]) -> dict[str, bytes]:
    """The bytes of a tiny set by the paper's main setting with some changes."""
    source = dataset(flips=True)  # mirror images are refused elsewhere
    overrides = {**case.overrides(preset=None), **STATED.get(case.name, {}), **changes}
    return content(distil(case, folder, preset=None, overrides=overrides, source=source))


@pytest.mark.parametrize(("case", "ingredient"), TOGGLES, ids=[f"{case}-{name}" for case, name in TOGGLES])
def test_an_ingredient_matters(
    case: Case, ingredient: str, tmp_path: Path, by_default: Callable[[Case], dict[str, bytes]]
) -> None:
    other = case.plugin.about.ingredients[ingredient]
    assert getattr(case.plugin.config(), ingredient) != other, "the default is not the value that switches it"
    assert distil_paper(case, tmp_path, {ingredient: other}) != by_default(case)
