"""`condense distill METHOD --help` tells every setting and preset of a method."""

from __future__ import annotations

from pathlib import Path

import pytest

from condense.cli import main

METHOD = """
from __future__ import annotations
from dataclasses import dataclass
from condense.method import Cost, Method, Preset

ABOUT = Method("Mine", "A. Author, A Title, 2026", "https://example.org/mine", "matching", "synthetic")

@dataclass(frozen=True)
class Config:
    steps: int = 20_000  # K, matching steps
    keep: float = 0.5  # alpha, share kept; 50 % in the paper
    network: str | None = None  # family of the random networks

PRESETS = {"table-1": Preset(Config(), "Table 1"), "cpu": Preset(Config(steps=30, network="mlp"), "two cores")}

def distill(train, budget, config, run):
    raise NotImplementedError

def cost(train, budget, config):
    return Cost(0.0, 0.0)
"""


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    assert main(["distill", str(path), "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_every_field_stands_with_default_meaning_and_type(told: str) -> None:
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert "steps=20000 K, matching steps [int]" in lines
    assert "keep=0.5 alpha, share kept; 50 % in the paper [float]" in lines
    assert "network=none family of the random networks [str | None]" in lines


def test_presets_stand_with_their_source_and_what_they_change(told: str) -> None:
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert "table-1 Table 1: the defaults above" in lines
    assert "cpu two cores: steps=30 network=mlp" in lines


def test_the_paper_is_cited(told: str) -> None:
    assert "Mine: A. Author, A Title, 2026\nhttps://example.org/mine" in told


def test_the_general_options_are_told_too(told: str) -> None:
    assert "--ipc K" in told
    assert "--set FIELD=VALUE" in told
