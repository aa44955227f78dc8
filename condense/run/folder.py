"""The folder of a run, which is continued only for the request that it was begun for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condense import files
from condense.errors import BadInput, DamagedFile
from condense.identity import canonical

LOCK = "run"  # held while a run is open, in the file run.lock
CLOCK = "clock.json"
_REQUEST = "run.json"


def begun(folder: Path, seed: int, request: Mapping[str, Any] | None) -> bool:
    """Clears away what a killed process left in a folder, and makes it this run's; whether nothing stood in it before.

    Raises:
        BadInput: when it holds a run of another seed or request.
        DamagedFile: when what stands there is no description of a run.
    """
    for part in (folder, folder / "phases", folder / "curves"):
        files.sweep(part)
    facts = {"seed": seed, "request": None if request is None else dict(request)}
    path = folder / _REQUEST
    if not path.is_file():
        is_empty = all(found.name == f"{LOCK}.lock" for found in folder.iterdir())
        files.write_json(path, facts)
        return is_empty
    found = files.read_json(path)
    if not isinstance(found, dict) or found.keys() != facts.keys():
        raise DamagedFile(path, "not the description of a run")
    if canonical(found) != canonical(facts):
        raise BadInput(
            f"{folder} holds a run for another request ({_difference(found, facts)}); "
            "choose another folder, or remove this one to start anew"
        )
    return False


def forget(folder: Path) -> None:
    """Removes the folder of a run that has saved nothing; one with any work, or with files of others, stays."""
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    if all(path.name in (_REQUEST, CLOCK) or path.suffix == ".lock" for path in found):
        files.discard(folder)


def _difference(found: Any, asked: Any, path: str = "") -> str:
    """The first place where two plain values differ, in words."""
    if isinstance(found, dict) and isinstance(asked, dict):
        for key in sorted(found.keys() | asked.keys()):
            if found.get(key) != asked.get(key):
                return _difference(found.get(key), asked.get(key), f"{path}.{key}" if path else key)
    return f"{path} is {found!r} there, {asked!r} was asked for"
