"""The registry: the folder, installed distributions, and files by path."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from condense import methods
from condense.errors import BadInput, UnknownName

METHOD = """
from __future__ import annotations
from dataclasses import dataclass
from condense.method import Cost, Method

ABOUT = Method("Mine", "A. Author, A Title, 2026", "https://example.org", "selection", "selection")

@dataclass(frozen=True)
class Config:
    steps: int = 3  # K, steps

PRESETS = {}

def distill(train, budget, config, run):
    raise NotImplementedError

def cost(train, budget, config):
    return Cost(0.0, 0.0)
"""


def offer(monkeypatch: pytest.MonkeyPatch, *entries: tuple[str, str]) -> None:
    points = [EntryPoint(name, value, methods.GROUP) for name, value in entries]
    monkeypatch.setattr(methods, "entry_points", lambda group: points)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    return path


def test_the_folder_is_the_registry(repository: Path) -> None:
    files = {path.stem for path in (repository / "methods").glob("*.py")} - {"__init__"}
    assert files <= set(methods.names())
    assert methods.built_in() == sorted(files)


def test_a_file_is_a_method_by_its_path(mine: Path) -> None:
    found = methods.get(mine)
    assert (found.name, found.about.title, found.config().steps) == ("mine", "Mine", 3)
    assert methods.get(str(mine)).name == "mine"


def test_an_installed_distribution_adds_a_method(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(mine.parent)
    offer(monkeypatch, ("added", "mine"))
    assert "added" in methods.names()
    assert methods.get("added").name == "added"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown method 'randon'; did you mean random\?"):
        methods.get("randon")


def test_two_methods_of_one_name_are_refused(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("random", "mine"))
    with pytest.raises(BadInput, match="'random' comes from condense and mine; uninstall all but one"):
        methods.get("random")


def test_a_file_may_not_take_the_name_of_a_method(mine: Path) -> None:
    with pytest.raises(BadInput, match="'random' is the name of an installed method; rename the file"):
        methods.get(mine.rename(mine.with_name("random.py")))


def test_the_path_of_a_method_of_the_folder_is_that_method(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(methods.__file__).resolve().parent
    asked = []
    monkeypatch.setattr(methods, "_imported", lambda name, entry: asked.append((name, entry)))
    monkeypatch.setattr(methods, "plugin", lambda name, module: name)
    assert methods.get(folder / "random.py") == "random"
    assert asked == [("random", None)]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"absent\.py: there is no such method file"):
        methods.get(tmp_path / "absent.py")


def test_a_file_that_fails_at_import_is_named_with_its_reason(mine: Path) -> None:
    mine.write_text("import a_package_that_is_nowhere")
    with pytest.raises(BadInput, match=r"'mine' \(.*mine\.py\) cannot be imported: ModuleNotFoundError: No module"):
        methods.get(mine)


def test_a_file_that_declares_too_little_is_told_what_lacks(mine: Path) -> None:
    mine.write_text("def distill(train, budget, config, run): ...")
    with pytest.raises(BadInput, match="lacks ABOUT, Config, PRESETS, cost"):
        methods.get(mine)
