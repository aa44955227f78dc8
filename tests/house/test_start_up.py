"""Commands answer at once: PyTorch and its like are imported only when a command needs them."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HEAVY = {"torch", "torchvision", "pandas", "scipy", "sklearn", "matplotlib", "pyarrow", "numpy", "pydantic", "rich"}


def imported_by(program: str) -> set[str]:
    script = f"import sys\n{program}\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {module.split(".")[0] for module in run.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    "program",
    [
        "import condense",
        "import condense.methods",
        "import condense.cli",
        "from condense.cli import main\nassert main([]) == 2",
        "from condense.cli import main\nassert main(['--help']) == 0",
        "from condense.cli import main\nassert main(['bench', '--help']) == 0",
        "from condense.cli import main\nassert main(['distill', 'dm', '--ipc', 'many']) == 2",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(program: str) -> None:
    assert imported_by(program) & HEAVY == set()


def test_the_scan_would_see_pytorch() -> None:
    assert "torch" in imported_by("import condense.machine")


def test_help_answers_in_half_a_second() -> None:
    def seconds() -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "condense.cli", "--help"], capture_output=True, check=True)
        return time.perf_counter() - begin

    # The best of five: other processes on this machine slow a start down, nothing speeds it up.
    assert min(seconds() for _ in range(5)) < 0.5
