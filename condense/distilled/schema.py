"""set.json: everything about a saved set that is not a tensor, checked on the way in."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from condense import files
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


class SetFile(BaseModel):
    """The content of set.json, version 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    version: int = Field(alias="schema")
    id: Digest
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # (C, H, W)
    count: int = Field(ge=1)  # images stored or selected
    images: str | None  # dtype; uint8 are pixels, floats are in preprocessed space; None for a selection
    selected_from: Digest | None  # fingerprint of the training split that source_index points into
    labels: dict[str, Any]
    preprocessing: dict[str, Any]
    expansion: dict[str, Any]
    bytes: dict[str, int]
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
    content = files.read_json(path)
    if not isinstance(content, dict):
        raise DamagedFile(path, f"expected an object, found {type(content).__name__}")
    version = content.get("schema")
    if isinstance(version, int) and version > VERSION:
        raise BadInput(f"{path} has schema version {version}, this condense reads up to {VERSION}; upgrade it")
    try:
        found = SetFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise DamagedFile(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if not found.is_intact():
        raise DamagedFile(path, "its content does not match its seal")
    return found
