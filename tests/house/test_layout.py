"""The shape of the repository: what lies at the top, how files are called, how long they are."""

from __future__ import annotations

import ast
from pathlib import Path

CODE = ("condense", "methods", "evaluate", "benchmarks")
MODULE_LINES, FUNCTION_LINES = 300, 60
NAMES_WITHOUT_MEANING = {"utils", "util", "helpers", "helper", "misc", "common"}


def modules(repository: Path) -> list[Path]:
    return [path for folder in CODE for path in sorted((repository / folder).rglob("*.py"))]


def test_the_required_folders_and_files_lie_at_the_top(repository: Path) -> None:
    folders = ("condense", "methods", "evaluate", "tests", "results", "data_cards")
    files = ("setup.cfg", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "constraints.txt")
    assert [name for name in folders if not (repository / name).is_dir()] == []
    assert [name for name in (*files, ".ci/run") if not (repository / name).is_file()] == []


def test_no_file_has_a_name_that_says_nothing(repository: Path) -> None:
    everything = [*modules(repository), *(repository / "tests").rglob("*.py")]
    assert [path for path in everything if NAMES_WITHOUT_MEANING & {path.stem, *path.parent.parts}] == []


def test_modules_are_short(repository: Path) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in modules(repository)}
    assert {str(path): length for path, length in lengths.items() if length > MODULE_LINES} == {}


def test_functions_are_short(repository: Path) -> None:
    long = [
        f"{path}:{node.lineno} {node.name} has {length} lines"
        for path in modules(repository)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]
    assert long == []


def test_contributing_is_read_in_one_go(repository: Path) -> None:
    assert len((repository / "CONTRIBUTING.md").read_text().splitlines()) <= 60
