"""Commands answer at once: PyTorch and its like are imported only when a command needs them."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "pandas", "scipy", "sklearn", "matplotlib", "pyarrow", "numpy", "pydantic")


def imported_by(program: str) -> set[str]:
    script = f"import sys\n{program}\nprint(*sys.modules, file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {module.split(".")[0] for module in run.stderr.split()}


@pytest.mark.parametrize(
    "program",
    [
        "import condense",
        "import condense.methods",
        "import condense.cli",
        "from condense.cli import main\nassert main([]) == 2",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(program: str) -> None:
    assert imported_by(program) & set(HEAVY) == set()


def test_help_imports_nothing_heavy() -> None:
    program = "from condense.cli import main\ntry: main(['--help'])\nexcept SystemExit as end: assert end.code == 0"
    assert imported_by(program) & set(HEAVY) == set()
