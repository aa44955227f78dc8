"""A process that dies or fails anywhere, and is run again, gives the same bytes as one that did not."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from contract_cases import Case, content, distil
from contract_faults import KINDS, Death, Faults, Kind, injected

# Conformance plugins are broken at every point. A built-in method has up to a thousand points, most of them alike: it
# is broken at this many, evenly spread, and at every point under the marker `soak`.
POINTS_OF_A_BUILT_IN = 6


def points(case: Case, folder: Path, kind: Kind) -> int:
    """How many points of this kind an unbroken distillation has."""
    with injected(Faults(kind)) as faults:
        distil(case, folder)
    shutil.rmtree(folder)
    return faults.count


def survive(case: Case, folder: Path, kind: Kind, at: int, expected: dict[str, bytes]) -> None:
    with injected(Faults(kind, at)), contextlib.suppress(Death, OSError):
        distil(case, folder)
    with injected(Faults("death at a file operation")):
        assert content(distil(case, folder)) == expected, f"{case}: {kind}, point {at}"
    left = [str(path) for kind in ("tmp", "old") for path in folder.rglob(f".{kind}-*")]
    assert left == [], f"{case}: {kind}, point {at} left temporaries"
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_is_survived_bit_for_bit(
    case: Case, kind: Kind, fast_folder: Path, expected: dict[str, bytes]
) -> None:
    total = points(case, fast_folder / "count", kind)
    stride = max(1, -(-total // POINTS_OF_A_BUILT_IN)) if case.built_in else 1
    for at in range(0, total, stride):
        survive(case, fast_folder / "broken", kind, at, expected)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_every_single_fault_is_survived_bit_for_bit(
    case: Case, kind: Kind, fast_folder: Path, expected: dict[str, bytes]
) -> None:
    for at in range(points(case, fast_folder / "count", kind)):
        survive(case, fast_folder / "broken", kind, at, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_faults_are_really_injected(kind: Kind, fast_folder: Path) -> None:
    case = Case("two_phases", str(Path(__file__).parent / "plugins" / "two_phases.py"), False)
    assert points(case, fast_folder / "count", kind) >= 12
    with pytest.raises((Death, OSError)), injected(Faults(kind, 5)):
        distil(case, fast_folder / "broken")
