"""Parametrises the contract tests over methods, and keeps one unbroken result of each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract_cases import Case, cases, content, distil


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames and not any(
        "case" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("case", cases(), ids=str)


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the system has such a place: a broken distillation writes a hundred small files."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    """The folder of a method's set, made without an interruption."""
    made: dict[str, Path] = {}

    def folder_of(case: Case) -> Path:
        if case.name not in made:
            made[case.name] = distil(case, tmp_path_factory.mktemp(case.name))
        return made[case.name]

    return folder_of


@pytest.fixture
def expected(case: Case, unbroken: Callable[[Case], Path]) -> dict[str, bytes]:
    """The bytes of that set."""
    return content(unbroken(case))
