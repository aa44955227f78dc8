"""Requests are known by the code they run and by what the files they name hold."""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from contract_cases import dataset, working_in

from condense import api, distilled, files, methods, networks
from condense.api import fingerprints
from condense.errors import BadInput
from condense.preprocessing import normalise
from condense.run.randomness import generator
from condense.soft_labels import LabelRecipe
from condense.training import Recipe, SplitSource, train

# A method that adds what a file holds, four times; it breaks off in step `until`, as a kill would.
METHOD = """
from dataclasses import dataclass
from pathlib import Path

import torch

from condense import preprocessing
from condense.distilled import DistilledSet
from condense.matching import initial_images
from condense.method import Cost, Method

ABOUT = Method(title="Sum", paper="", url="", family="test", kind="synthetic")
PRESETS = {}


@dataclass(frozen=True)
class Config:
    source: str = ""  # a network and the file of its weights
    until: int = 9  # step that is not reached


def distill(train, budget, config, run):
    space = preprocessing.fit("identity", train)
    images, labels = initial_images(train, budget, space, run.rng("initial"), "noise")
    value = torch.load(config.source.partition("@")[2], weights_only=True)["value"]
    state = run.state(images=torch.zeros_like(images))
    for step in run.loop("add", 4, state):
        if step == config.until and not Path("resumed").exists():
            raise KeyboardInterrupt
        state.images = state.images + value
    return DistilledSet.synthetic(state.images, labels, train, space)


def cost(train, budget, config):
    return Cost(1.0, 1.0)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[api.Place]:
    with working_in(tmp_path):
        (tmp_path / "summing.py").write_text(METHOD)
        yield api.Place(cache_dir=tmp_path / "cache", checkpoint_seconds=0.0)


def hold(path: Path, value: float) -> None:
    torch.save({"value": torch.tensor(value)}, path)


def value_of(folder: Path) -> float:
    images = distilled.load(folder).images
    assert images is not None
    assert images.unique().numel() == 1
    return float(images[0, 0, 0, 0])


def test_two_files_at_one_path_are_two_requests(place: api.Place, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"

    def make(source: str) -> Path:
        return api.distill("summing.py", "tiny", ipc=1, overrides={"source": source}, place=place)

    hold(path, 1.0)
    first = make(f"mlp@{path}")
    hold(path, 10.0)
    second = make(f"mlp@{path}")
    assert (value_of(first), value_of(second)) == (4.0, 40.0)
    elsewhere = tmp_path / "elsewhere" / "weights.pt"
    elsewhere.parent.mkdir()
    path.rename(elsewhere)
    assert make(f"mlp@{elsewhere}") == second
    made = distilled.load(second).provenance["config"]
    assert made["source"] == f"mlp@weights.pt (sha256 {files.sha256(elsewhere)[:16]})"
    with pytest.raises(BadInput, match="a set that was made otherwise: by other settings, files or code"):
        api.distill("summing.py", "tiny", ipc=1, overrides={"source": f"mlp@{elsewhere}"}, out=first, place=place)


def test_an_interrupted_run_never_goes_on_with_another_file(place: api.Place, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    asked = {"source": f"mlp@{path}", "until": 2}
    hold(path, 1.0)
    with pytest.raises(KeyboardInterrupt):
        api.distill("summing.py", "tiny", ipc=1, overrides=asked, place=place)
    (tmp_path / "resumed").touch()
    hold(path, 10.0)
    assert value_of(api.distill("summing.py", "tiny", ipc=1, overrides=asked, place=place)) == 40.0
    hold(path, 1.0)
    assert value_of(api.distill("summing.py", "tiny", ipc=1, overrides=asked, place=place)) == 4.0


def test_labels_of_two_teachers_at_one_path_are_two_sets(place: api.Place, tmp_path: Path) -> None:
    old = api.distill("random", "tiny", ipc=2, place=place)
    path = tmp_path / "teacher.pt"
    recipe = tmp_path / "recipe.json"
    spec = LabelRecipe("fixed", f"mlp:width=4@{path}", training="tiny-images").spec()
    files.write_json(recipe, spec)
    found = []
    for seed in (1, 3):
        torch.save(dict(teacher(seed).state_dict()), path)
        found.append(api.relabel(old, recipe, place=place))
    first, second = (distilled.load(folder).provenance for folder in found)
    assert found[0] != found[1]
    assert first["teachers"][0]["state"] != second["teachers"][0]["state"]
    assert str(tmp_path) not in str(second["config"])


@dataclass(frozen=True)
class Settings:
    committee: str
    word: str = "plain"
    rate: float = 0.5
    several: tuple[str, ...] = ()


def test_files_are_named_by_content_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.pt", "plain", "x+y.npz"):
        (tmp_path / name).write_text(name)
    digits = {name: files.sha256(tmp_path / name)[:16] for name in ("a.pt", "x+y.npz")}
    named = fingerprints.by_content(Settings("resnet18@a.pt + mlp@none.pt+vit", several=(str(tmp_path / "x+y.npz"),)))
    assert named == {
        "committee": f"resnet18@a.pt (sha256 {digits['a.pt']})+ mlp@none.pt+vit",
        "word": "plain",  # a word is no file, whatever lies in the folder
        "rate": 0.5,
        "several": [f"x+y.npz (sha256 {digits['x+y.npz']})"],
    }
    deep = fingerprints.by_content({"deep": [{"file": Path("a.pt")}]})
    assert deep == {"deep": [{"file": f"a.pt (sha256 {digits['a.pt']})"}]}
    assert fingerprints.by_content("mlp@a.pt#12") == f"mlp@a.pt#12 (sha256 {digits['a.pt']})"
    assert fingerprints.by_content("n" * 5000) == "n" * 5000
    assert fingerprints.by_content("~nobody-of-this-name/a.pt") == "~nobody-of-this-name/a.pt"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of somebody else's with a method that imports from beside itself and from condense."""
    folder = tmp_path / "others"
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "deep" / "__init__.py").write_text("from .part import VALUE\n")
    (folder / "deep" / "part.py").write_text("VALUE = 1\n")
    (folder / "typed.py").write_text("")
    (folder / "unrelated.py").write_text("")
    (folder / "method.py").write_text(
        "from typing import TYPE_CHECKING\n\nfrom .deep import (\n    VALUE,  # a comment\n)\n\n"
        "if TYPE_CHECKING:\n    from others import typed\n\n\ndef later():\n    import condense.zca as other\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "others"]:
        del sys.modules[name]


def loaded(name: str) -> ModuleType:
    fingerprints._read.cache_clear()
    fingerprints._place.cache_clear()
    return import_module(name)


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ("method.py", True),
        ("deep/__init__.py", True),
        ("deep/part.py", True),
        ("typed.py", False),
        ("unrelated.py", False),
    ],
)
def test_code_is_the_module_and_all_that_it_imports(package: Path, changed: str, matters: bool) -> None:
    before = fingerprints.code(loaded("others.method"))
    assert fingerprints.code(loaded("others.method")) == before
    path = package / changed
    path.write_text(path.read_text() + "\nCHANGED = True\n")
    assert (fingerprints.code(loaded("others.method")) != before) is matters


def test_the_code_of_a_method_reaches_into_this_package_and_not_to_the_judge() -> None:
    read: set[str] = set()
    original = fingerprints._read.__wrapped__
    plugin = methods.get("datadam")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprints, "_read", lambda path, package: (read.add(package), original(path, package))[1])
        fingerprints.code(plugin.module)
    assert {"condense", "condense.run", "condense.augment", "condense.networks"} <= read
    assert not [name for name in read if name.startswith(("condense.evaluate", "condense.api", "condense.cli"))]


def test_where_the_code_lies_does_not_count(tmp_path: Path) -> None:
    found = []
    for folder in ("one", "two"):
        path = tmp_path / folder / "summing.py"
        path.parent.mkdir()
        path.write_text(METHOD)
        spec = spec_from_file_location(f"loaded_from_{folder}", path)
        assert spec is not None
        module = module_from_spec(spec)
        found.append(fingerprints.code(module))
    assert found[0] == found[1]


def test_imports_are_those_that_the_interpreter_reads(repository: Path) -> None:
    """The quick reader of import statements against the whole syntax tree of every module."""
    compared = 0
    for folder in ("condense", "methods", "evaluate"):
        for path in (repository / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            assert set(fingerprints.imports(source, "")) == set(_whole_tree(ast.parse(source))), path
            compared += 1
    assert compared > 200


def _whole_tree(tree: ast.Module) -> Iterator[str]:
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def test_reading_the_code_takes_a_fraction_of_a_second() -> None:
    plugin = methods.get("mtt")
    fingerprints._read.cache_clear()
    begin = time.process_time()
    fingerprints.code(plugin.module)
    assert time.process_time() - begin < 0.2


def teacher(seed: int) -> networks.Network:
    """A network that tells the tiny data's classes apart better than guessing."""
    split = dataset().train
    network = networks.build("mlp:width=4", split.shape, split.n_classes, torch.Generator().manual_seed(seed))
    recipe = Recipe(epochs=40, batch=36, lr=0.05)
    train(network, SplitSource(split, normalise(split.mean, split.std)), recipe, lambda *name: generator(0, *name))
    return network
