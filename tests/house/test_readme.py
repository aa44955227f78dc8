"""What the README tells a newcomer to paste does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def _run(words: list[str], folder: Path) -> str:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_lines_distil_load_and_score(tmp_path: Path) -> None:
    (lines,) = [block for block in BLOCKS if block.startswith("import condense")]
    (tmp_path / "use.py").write_text(lines + "\nprint(record, images.shape, prepare)\n")
    printed = _run(["use.py"], tmp_path)
    assert "random-s0-" in printed
    assert "[50, 1, 8, 8]" in printed


def test_the_example_method_is_complete_and_short(tmp_path: Path) -> None:
    (lines,) = [block for block in BLOCKS if "ABOUT = Method" in block]
    assert len([line for line in lines.splitlines() if line.strip()]) <= 31
    (tmp_path / "averages.py").write_text(lines)
    words = ["-m", "condense.cli", "distill", "averages.py", "--dataset", "digits", "--ipc", "2"]
    folder = Path(_run(words, tmp_path).strip())
    assert (tmp_path / folder / "preview.png").is_file()


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)]+)\)", (ROOT / "README.md").read_text()))
def test_links_into_the_repository_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists(), target
