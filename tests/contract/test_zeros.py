"""A zero where a setting takes whole numbers is refused or works: it never ends in an error of the code."""

from __future__ import annotations

import contextlib
import typing
from pathlib import Path

import pytest
from contract_cases import Case, built_in, distil

from condense.errors import CondenseError

NUMBERS = [
    (case, name)
    for case in built_in()
    for name, kind in typing.get_type_hints(case.plugin.config_type).items()
    if kind in (int, int | None)
]


@pytest.mark.soak
@pytest.mark.parametrize(("case", "field"), NUMBERS, ids=[f"{case}-{field}" for case, field in NUMBERS])
def test_a_zero_is_refused_or_works(case: Case, field: str, tmp_path: Path) -> None:
    with contextlib.suppress(CondenseError):
        distil(case, tmp_path, overrides={**case.overrides(), field: 0})
