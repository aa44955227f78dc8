"""The built wheel is whole, takes no foreign name, and works from any folder."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCES = ("condense", "methods", "evaluate", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def call(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    run = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Built from a copy: a build in place would pick up what earlier builds left behind.
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (repository / name).is_dir():
            shutil.copytree(repository / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(repository / name, source)
    pip = (sys.executable, "-m", "pip", "--isolated", "wheel", "--no-deps", "--no-index", "--no-build-isolation")
    call(*pip, "--wheel-dir", "out", ".", cwd=source)
    (built,) = (source / "out").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds the wheel, and sees the dependencies of this one behind it."""
    home = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--isolated", "--python", python)
    call(*pip, "install", "--no-deps", "--no-index", "--no-compile", wheel, cwd=home)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return home / "bin"


def test_the_wheel_takes_no_name_but_its_own(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"condense"}


def test_the_wheel_holds_every_file_of_the_three_folders(repository: Path, wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder, home in (("condense", "condense"), ("methods", "condense/methods"), ("evaluate", "condense/evaluate")):
        files = {path for path in (repository / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"}
        expected = {f"{home}/{path.relative_to(repository / folder).as_posix()}" for path in files}
        assert expected - inside == set()


def test_an_installation_works_from_another_folder(installed: Path, tmp_path: Path) -> None:
    protocols = call(installed / "condense", "list", "protocols", cwd=tmp_path).split()
    assert "quick" in protocols
    methods = call(installed / "condense", "list", "methods", cwd=tmp_path).split()
    assert "random" in methods
    where = call(installed / "python", "-c", "import condense.methods as m; print(m.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
