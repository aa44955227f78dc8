"""Records in a results folder: found, read, and grown under a lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from condense import files
from condense.errors import DamagedFile
from condense.evaluate.parts import Celled

R = TypeVar("R", bound=Celled)


class Shelf(Generic[R]):
    """All records of one kind, each in a file of its own below <results>/<folder>.

    Args:
        form: the class of the records.
        place: where below the folder a record lives.
    """

    def __init__(self, folder: str, form: type[R], place: Callable[[R], Path]):
        self._folder = folder
        self._form = form
        self._place = place

    def path_of(self, results: str | Path, record: R) -> Path:
        """Where a record of this identity lives; its cells do not count."""
        return Path(results) / self._folder / self._place(record)

    def paths(self, results: str | Path) -> Iterator[Path]:
        """The files of a results folder, sorted."""
        yield from sorted((Path(results) / self._folder).rglob("*.json"))

    def read(self, path: str | Path) -> R:
        """Reads one record.

        Raises:
            DamagedFile: when the file is not JSON, or not such a record; the message names the first field at fault.
        """
        try:
            return self._form.model_validate(files.read_json(path))
        except ValidationError as error:
            raise DamagedFile(path, first_problem(error)) from error

    def read_all(self, results: str | Path) -> list[R]:
        """Every record of a results folder, in the order of their paths; empty when there is none."""
        return [self.read(path) for path in self.paths(results)]

    def standing(self, results: str | Path, record: R) -> R | None:
        """What stands in a results folder of this record, whose cells do not count; None when nothing does.

        Raises:
            BadInput: as `merge`, but before there is anything to add: numbers of another judge are no finished work.
        """
        path = self.path_of(results, record)
        if not path.exists():
            return None
        old = self.read(path)
        old.require_same(record, path)
        return old

    def merge(self, results: str | Path, record: R) -> tuple[Path, R]:
        """Adds a record to a results folder, under a lock and atomically; returns its path and what now stands there.

        Numbers that are there stay; only cells and seeds not there yet are added, and failures of the machine give way
        to results. Nothing to add: the file is not touched.

        Raises:
            BadInput: when the file there was written by another judge or for another protocol, data set or set.
        """
        path = self.path_of(results, record)
        with files.lock(Path(results) / self._folder):  # one for all: a lock file beside each would be clutter
            old = self.standing(results, record)
            merged = record if old is None else old.grown(record)
            if old is None or merged.to_bytes() != old.to_bytes():
                files.write_bytes(path, merged.to_bytes())
            return path, merged


def first_problem(error: ValidationError) -> str:
    """The first field at fault of a file, and what is wrong with it."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "record"
    return f"{where}: {first['msg']}"
