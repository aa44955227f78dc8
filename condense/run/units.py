"""Independent pieces of work, one file each: done in any order, by any number of processes, each exactly once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from condense import files
from condense.errors import BadInput, DamagedFile
from condense.run.settings import Settings
from condense.tensor_format import checksum

Exclusively = Callable[[str, Generator[Any, None, None]], Iterator[Any]]  # lets one loop of a run be active at a time
Check = Callable[[dict[str, Tensor]], str | None]  # what is wrong with a unit's tensors


class Units:
    """The files `<folder>/<index>.safetensors` and the locks of those that are being made.

    There is no index file: which units are done is found by looking at their files, and each carries a checksum.
    """

    def __init__(self, folder: Path, kind: str, count: int, settings: Settings, check: Check):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise BadInput(f"{kind} needs a whole number of parts of at least 0, got {count!r}")
        self.folder = folder
        self.count = count
        self.kind = kind
        self._settings = settings
        self._check = check
        self._locks = folder.parent / f"{folder.name}.locks"
        self._sound: set[int] = set()

    def path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.safetensors"

    def missing(self) -> Iterator[int]:
        """Yields each unit that has no sound file while holding its lock, until every unit has one.

        Units that another process holds come last; when that process dies, the system frees its lock and the unit is
        yielded here.

        Raises:
            BadInput: when a yielded unit was not written.
        """
        files.sweep(self.folder)
        unfinished = [index for index in range(self.count) if not self._is_sound(index)]
        progress = self._settings.progress
        if not unfinished:
            return
        progress.begin(self.kind, self.count, self.count - len(unfinished))
        try:
            for patient in (False, True):
                held_elsewhere = []
                for index in unfinished:
                    try:
                        with files.lock(self._locks / str(index), timeout=None if patient else 0):
                            if not self._is_sound(index):
                                yield index
                                self._require_written(index)
                    except files.InUse:
                        held_elsewhere.append(index)
                    progress.advance(len(self._sound))
                unfinished = held_elsewhere
        finally:
            progress.end()

    def write(self, index: int, tensors: dict[str, Tensor], note: str = "") -> None:
        """Writes one unit whole, with a note that `note` gives back.

        Raises:
            BadInput: when the tensors are not what a unit holds.
        """
        if problem := self._check(tensors):
            raise BadInput(f"{self.kind}, number {index}: {problem}")
        notes = {"note": note} if note else {}
        files.write_tensors(self.path(index), tensors, {"checksum": checksum(tensors), **notes})
        self._sound.add(index)

    def note(self, index: int) -> str:
        """What was noted beside a unit, empty for nothing."""
        return files.read_metadata(self.path(index)).get("note", "")

    def read(self, index: int) -> dict[str, Tensor]:
        """The tensors of one unit.

        Raises:
            BadInput: for a unit that is not there.
            DamagedFile: naming the file when its content is not what was written.
        """
        if not 0 <= index < self.count:
            raise BadInput(f"{self.kind} has the parts 0 to {self.count - 1}, {index} was asked for")
        path = self.path(index)
        if not path.is_file():
            raise BadInput(f"{path} is missing; let the loop over the missing parts run to its end first")
        tensors = files.read_tensors(path)
        if files.read_metadata(path).get("checksum") != checksum(tensors):
            raise DamagedFile(path, "its tensors are not the ones that were written")
        if problem := self._check(tensors):
            raise DamagedFile(path, problem)
        return tensors

    def _is_sound(self, index: int) -> bool:
        if index not in self._sound and self.path(index).is_file():
            try:
                self.read(index)
            except DamagedFile:
                return False  # made again: a unit depends on nothing but its number
            self._sound.add(index)
        return index in self._sound

    def _require_written(self, index: int) -> None:
        if index not in self._sound:
            raise BadInput(f"{self.kind}, number {index} was left without a result; save it in the body of the loop")
