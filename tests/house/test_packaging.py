"""setup.cfg and constraints.txt say what the folders, the imports and the environment say."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HOMES = {"condense": "condense", "condense.methods": "methods", "condense.evaluate": "evaluate"}


@pytest.fixture(scope="module")
def setup(repository: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names of extras and packages keep their case
    parser.read(repository / "setup.cfg")
    return parser


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def packages_on_disk(repository: Path) -> dict[str, Path]:
    found = {}
    for package, folder in HOMES.items():
        for init in (repository / folder).rglob("__init__.py"):
            inside = init.parent.relative_to(repository / folder).parts
            found[".".join([package, *inside])] = init.parent
    return found


def requirements(text: str) -> dict[str, Requirement]:
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines(text)}


def test_every_package_is_listed(repository: Path, setup: configparser.ConfigParser) -> None:
    listed = lines(setup["options"]["packages"])
    assert listed == sorted(listed)
    assert set(listed) == set(packages_on_disk(repository))


def test_every_folder_with_modules_is_a_package(repository: Path) -> None:
    folders = {path.parent for folder in HOMES.values() for path in (repository / folder).rglob("*.py")}
    assert folders == set(packages_on_disk(repository).values())


def test_every_data_file_is_listed_and_every_listed_pattern_finds_one(
    repository: Path, setup: configparser.ConfigParser
) -> None:
    on_disk = {
        path
        for folder in HOMES.values()
        for path in (repository / folder).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    packages = packages_on_disk(repository)
    listed = set()
    for package, patterns in setup["options.package_data"].items():
        for pattern in lines(patterns.replace(",", "\n")):
            matches = set(packages[package].glob(pattern))
            assert matches, f"{package}: {pattern} matches no file"
            listed |= matches
    assert on_disk == listed


def test_the_folders_install_inside_the_package(setup: configparser.ConfigParser) -> None:
    mapping = dict(re.split(r"\s*=\s*", line) for line in lines(setup["options"]["package_dir"]))
    assert mapping == HOMES


def test_requirements_have_lower_bounds(setup: configparser.ConfigParser) -> None:
    texts = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    named = [requirement for text in texts for requirement in requirements(text).values()]
    assert named
    assert [str(each) for each in named if not any(part.operator == ">=" for part in each.specifier)] == []


def test_constraints_pin_what_is_needed_and_nothing_else(repository: Path, setup: configparser.ConfigParser) -> None:
    text = "\n".join(line for line in lines((repository / "constraints.txt").read_text()) if line[0] != "#")
    pins = requirements(text)
    assert [str(pin) for pin in pins.values() if not re.fullmatch(r"==[\w.]+", str(pin.specifier))] == []

    todo = [
        *requirements(setup["options"]["install_requires"]).values(),
        *requirements(setup["options.extras_require"]["test"]).values(),
    ]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) not in seen:
            seen.add((name, extras))
            todo += [child for line in metadata.requires(name) or [] if _asked_for(child := Requirement(line), extras)]
    needed = {name for name, _ in seen}
    # A CUDA build of PyTorch brings packages whose versions it pins by itself.
    brought_by_torch = {name for name in needed - set(pins) if name.startswith(("nvidia-", "cuda-", "triton"))}
    assert needed - brought_by_torch == set(pins)


def _asked_for(child: Requirement, extras: frozenset[str]) -> bool:
    return child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in (*extras, ""))


def test_every_import_is_declared_and_every_requirement_is_imported(
    repository: Path, setup: configparser.ConfigParser
) -> None:
    imported = {"torchvision"}  # by condense/_torchvision.py, under a name made at run time
    for folder in HOMES.values():
        for path in (repository / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.split(".")[0])
    third_party = imported - set(sys.stdlib_module_names) - {"condense"}
    homes = metadata.packages_distributions()
    distributions = {canonicalize_name(homes.get(name, [name])[0]) for name in third_party}
    required = set(requirements(setup["options"]["install_requires"]))
    optional = {
        name
        for extra, text in setup["options.extras_require"].items()
        if extra != "test"
        for name in requirements(text)
    }
    assert distributions - required - optional == set()
    assert required - distributions == set()


def test_no_package_index_is_named(repository: Path) -> None:
    for name in ("setup.cfg", "constraints.txt", "Makefile", ".ci/run", "pyproject.toml"):
        assert "://" not in (repository / name).read_text(), name
