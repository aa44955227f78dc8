"""Distillation methods, one readable file each.

The folder is the registry: `methods/dm.py` is the method `dm`. Other distributions add theirs through the entry-point
group `condense.methods`, and any file is a method by its path.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from condense.errors import BadInput, UnknownName
from condense.method import Plugin, plugin

if __name__ == "methods":
    raise ImportError("import condense.methods: the bare name 'methods' may belong to another package")

GROUP = "condense.methods"
_FOLDER = Path(__file__).resolve().parent


def names() -> list[str]:
    """The methods of the folder and of installed distributions, found without importing any of them."""
    return sorted({*built_in(), *_installed()})


def built_in() -> list[str]:
    """The methods of the folder."""
    return sorted(path.stem for path in _FOLDER.glob("*.py") if not path.stem.startswith("_"))


def get(name: str | Path) -> Plugin:
    """The method of this name, or the one in this Python file.

    Raises:
        UnknownName: offering the nearest names.
        BadInput: when the module cannot be imported, does not declare what a method declares, or takes a name that
            another method has: their results would stand in one row of a table.
    """
    text = str(name)
    if text.endswith(".py") or "/" in text:
        return _from_file(Path(text).expanduser().resolve())
    if text not in names():
        raise UnknownName("method", text, names())
    offers = _installed().get(text, [])
    if len(offers) + (text in built_in()) > 1:
        origins = [entry.value for entry in offers] + ["condense"] * (text in built_in())
        raise BadInput(f"method {text!r} comes from {' and '.join(sorted(origins))}; uninstall all but one")
    return plugin(text, _imported(text, offers[0] if offers else None))


def _installed() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, []).append(entry)
    return found


def _imported(name: str, entry: EntryPoint | None) -> ModuleType:
    try:
        return import_module(f"{__name__}.{name}") if entry is None else entry.load()
    except (Exception, SystemExit) as error:
        where = f"{_FOLDER / name}.py" if entry is None else entry.value
        raise _broken(name, where, error) from error


def _from_file(path: Path) -> Plugin:
    if not path.is_file():
        raise BadInput(f"{path}: there is no such method file; give a name from `condense list methods` or a .py file")
    name = path.stem
    if path.parent == _FOLDER:
        return get(name)
    if name in names():
        raise BadInput(f"{path}: {name!r} is the name of an installed method; rename the file")
    spec = spec_from_file_location(f"condense_method_{sha256(str(path).encode()).hexdigest()[:16]}", path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path}: a method file ends with .py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and `inspect` look modules up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise _broken(name, str(path), error) from error
    return plugin(name, module)


def _broken(name: str, where: str, error: BaseException) -> BadInput:
    return BadInput(f"method {name!r} ({where}) cannot be imported: {type(error).__name__}: {error}")
