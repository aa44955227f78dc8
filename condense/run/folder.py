"""The folder of a run, which is continued only for the request that it was begun for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condense import files
from condense.errors import BadInput, DamagedFile
from condense.identity import canonical


def begun(folder: Path, seed: int, request: Mapping[str, Any] | None) -> bool:
    """Clears away what a killed process left in a folder, and makes it this run's; whether it is a new one.

    Raises:
        BadInput: when it holds a run of another seed or request.
        DamagedFile: when what stands there is no description of a run.
    """
    for part in (folder, folder / "phases", folder / "curves"):
        files.sweep(part)
    facts = {"seed": seed, "request": None if request is None else dict(request)}
    path = folder / "run.json"
    if not path.is_file():
        files.write_json(path, facts)
        return True
    found = files.read_json(path)
    if not isinstance(found, dict) or found.keys() != facts.keys():
        raise DamagedFile(path, "not the description of a run")
    if canonical(found) != canonical(facts):
        raise BadInput(
            f"{folder} holds a run for another request ({_difference(found, facts)}); "
            "choose another folder, or remove this one to start anew"
        )
    return False


def _difference(found: Any, asked: Any, path: str = "") -> str:
    """The first place where two plain values differ, in words."""
    if isinstance(found, dict) and isinstance(asked, dict):
        for key in sorted(found.keys() | asked.keys()):
            if found.get(key) != asked.get(key):
                return _difference(found.get(key), asked.get(key), f"{path}.{key}" if path else key)
    return f"{path} is {found!r} there, {asked!r} was asked for"
