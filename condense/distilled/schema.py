"""set.json: everything about a saved set that is not a tensor, checked on the way in."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from condense import files, stated
from condense.distilled import provenance
from condense.errors import BadInput, DamagedFile
from condense.identity import canonical

VERSION = 1
NAME = "set.json"


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise ValueError(f"{name!r} leads out of the set's folder")
    return name


Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, AfterValidator(_inside)]


class Sizes(stated.Fields):
    """Bytes by part, and in all."""

    images: int = Field(ge=0)
    labels: int = Field(ge=0)
    extras: int = Field(ge=0)
    preprocessing: int = Field(ge=0)
    total: int = Field(ge=0)


class SetFile(BaseModel):
    """The content of set.json, version 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    version: int = Field(alias="schema", ge=1)
    id: Digest
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # (C, H, W)
    count: int = Field(ge=1)  # images stored or selected
    images: str | None  # dtype; uint8 are pixels, floats are in preprocessed space; None for a selection
    selected_from: Digest | None  # fingerprint of the training split that source_index points into
    labels: dict[str, Any]
    preprocessing: dict[str, Any]
    expansion: dict[str, Any]
    bytes: Sizes
    files: dict[FileName, Digest]  # path inside the folder -> SHA-256
    provenance: dict[str, Any]
    seal: str = ""  # SHA-256 of all of the above, in canonical JSON

    def sealed(self) -> Self:
        """The same content with its seal."""
        return self.model_copy(update={"seal": self._seal()})

    def is_intact(self) -> bool:
        """Whether the seal is that of the content."""
        return self.seal == self._seal()

    def _seal(self) -> str:
        return hashlib.sha256(canonical(self.model_dump(mode="json", by_alias=True, exclude={"seal"}))).hexdigest()


def read(directory: Path) -> SetFile:
    """Reads and checks `directory`/set.json; the other files are not looked at.

    Raises:
        BadInput: when the folder is not a distilled set, or a later version of this project wrote it.
        DamagedFile: when set.json is not what was written.
    """
    path = directory / NAME
    if not path.is_file():
        state = "does not exist"
        if directory.exists():
            state = f"holds no {NAME}" if directory.is_dir() else "is a file, not a folder"
        raise BadInput(f"{directory} {state}; give the folder of a saved set")
    try:
        content = files.read_json(path)
    except RecursionError as error:
        raise DamagedFile(path, "values inside values without an end") from error
    if not isinstance(content, dict):
        raise DamagedFile(path, f"expected an object, found {type(content).__name__}")
    version = content.get("schema")
    if isinstance(version, int) and version > VERSION:
        raise BadInput(f"{path} has schema version {version}, this condense reads up to {VERSION}; upgrade it")
    try:
        found: SetFile = stated.read(SetFile, content)
        intact = found.is_intact()
        provenance.check(found.provenance)
    except ValueError as error:
        raise DamagedFile(path, str(error)) from error
    if not intact:
        raise DamagedFile(path, "its content does not match its seal")
    return found
