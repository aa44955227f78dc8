"""Imports flow one way, and nothing depends on the bare names `methods` and `evaluate`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MAY_IMPORT_EVERYTHING = ("condense/api/", "condense/cli/")
OPENS_THE_API = ("condense/__init__.py", "condense/__main__.py", *MAY_IMPORT_EVERYTHING)


def sources(repository: Path, *folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((repository / folder).rglob("*.py")):
            yield path.relative_to(repository).as_posix(), ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[str]:
    """Every dotted name that a module imports, wherever in it, those named in `import_module("...")` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def crossings(repository: Path, folder: str, *forbidden: str, exempt: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{name} imports {target}"
        for name, tree in sources(repository, folder)
        if not name.startswith(exempt)
        for target in imports(tree)
        if any(target == banned or target.startswith(f"{banned}.") for banned in forbidden)
    ]


def test_the_core_knows_no_method_and_no_judge(repository: Path) -> None:
    found = crossings(repository, "condense", "condense.methods", "condense.evaluate", exempt=MAY_IMPORT_EVERYTHING)
    assert found == []


def test_only_the_command_line_and_the_package_open_the_api(repository: Path) -> None:
    assert crossings(repository, "condense", "condense.api", "condense.cli", exempt=OPENS_THE_API) == []


def test_a_method_sees_neither_the_judge_nor_another_method(repository: Path) -> None:
    forbidden = ("condense.evaluate", "condense.methods", "condense.api", "condense.cli")
    assert crossings(repository, "methods", *forbidden) == []


def test_the_judge_sees_no_method(repository: Path) -> None:
    assert crossings(repository, "evaluate", "condense.methods", "condense.api", "condense.cli") == []


def test_nobody_imports_the_bare_names(repository: Path) -> None:
    for folder in ("condense", "methods", "evaluate", "tests", "benchmarks"):
        assert crossings(repository, folder, "methods", "evaluate") == []


def test_torchvision_is_imported_through_one_door(repository: Path) -> None:
    for folder in ("condense", "methods", "evaluate"):
        assert crossings(repository, folder, "torchvision") == []


def test_the_scan_sees_every_form_of_import() -> None:
    source = "import a.b\nfrom c import d\ndef f():\n    import e\n    importlib.import_module('g.h')\n"
    assert list(imports(ast.parse(source))) == ["a.b", "c.d", "e", "g.h"]


@pytest.mark.parametrize("name", ["methods", "evaluate"])
def test_a_bare_import_is_refused_with_the_name_to_use(repository: Path, name: str) -> None:
    program = f"import sys; sys.path.insert(0, {str(repository)!r}); import {name}"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert f"import condense.{name}: the bare name {name!r} may belong to another package" in run.stderr


def test_the_tests_are_no_package(repository: Path) -> None:
    assert list((repository / "tests").rglob("__init__.py")) == []


def test_every_module_postpones_its_annotations(repository: Path) -> None:
    line = "from __future__ import annotations"
    files = [path for folder in ("condense", "methods", "evaluate") for path in (repository / folder).rglob("*.py")]
    assert [str(path) for path in files if line not in path.read_text()] == []
