"""Independent, repeatable jobs: any order, any worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from condense import files
from condense.run.randomness import derived_seed, generator
from condense.run.settings import Settings
from condense.run.state import first_not_finite
from condense.run.units import Exclusively, Units

if TYPE_CHECKING:
    from condense.run.run import Run

OpenRun = Callable[[Path, int], "Run"]  # (directory, seed)


class Job:
    """One item of work.  Its randomness depends on the run's seed, the jobs' name and its index alone."""

    def __init__(self, jobs: Jobs, index: int, item: Any, seed: int):
        self.index = index
        self.item = item
        self._jobs = jobs
        self._seed = seed

    def rng(self, name: str, *ids: int) -> torch.Generator:
        """A CPU generator of this job."""
        return generator(self._seed, name, *ids)

    @cached_property
    def run(self) -> Run:
        """A run of the job's own, for loops inside it that resume; it is removed once the job is saved."""
        return self._jobs.open_run(self._folder, self._seed)

    def save(self, **tensors: Tensor) -> None:
        """Stores the job's result, whole; the job is done then.

        Raises:
            BadInput: for something that is not a finite tensor.
        """
        stops = self.run.stops if "run" in self.__dict__ else {}
        self._jobs.units.write(self.index, tensors, json.dumps(stops) if stops else "")
        self._jobs.saved()
        self.close()
        files.discard(self._folder)

    def close(self) -> None:
        """Gives back the directory of the job's own run."""
        if "run" in self.__dict__:
            self.run.close()

    @property
    def _folder(self) -> Path:
        return self._jobs.units.folder / f"{self.index:05d}.work"


class Jobs:
    """Iterate to do the pending jobs, save each; then `results()`."""

    def __init__(
        self,
        folder: Path,
        name: str,
        items: Sequence[Any],
        seed: int,
        settings: Settings,
        exclusively: Exclusively,
        open_run: OpenRun,
        saved: Callable[[], None],
    ):
        self.name = name
        self.saved = saved  # what to do once a job is stored
        self.items = list(items)
        self.open_run = open_run
        self.units = Units(folder, f"jobs {name!r}", len(self.items), settings, _problem)
        self._seed = seed
        self._exclusively = exclusively

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Job]:
        return self._exclusively(self.name, self._pending())

    def _pending(self) -> Generator[Job, None, None]:
        for index in self.units.missing():
            job = Job(self, index, self.items[index], derived_seed(self._seed, "jobs", self.name, index))
            try:
                yield job
            finally:
                job.close()

    @property
    def ended_early(self) -> dict[str, Any] | None:
        """What is to be said of the jobs that are done and had a loop that ended early; None when there is none."""
        done = [index for index in range(len(self.items)) if self.units.path(index).is_file()]
        notes = [json.loads(note) for index in done if (note := self.units.note(index))]
        if not notes:
            return None
        first = min((stop for stops in notes for stop in stops.values()), key=lambda stop: stop["step"])
        return {"step": first["step"], "reason": f"{len(notes)} of {len(self.items)} jobs: {first['reason']}"}

    def result(self, index: int) -> dict[str, Tensor]:
        """What one job saved."""
        return self.units.read(index)

    def results(self) -> list[dict[str, Tensor]]:
        """What every job saved, in the order of the items.

        Raises:
            BadInput: when a job is not done, because the loop over the jobs was left early.
        """
        return [self.units.read(index) for index in range(len(self.items))]


def _problem(tensors: dict[str, Tensor]) -> str | None:
    strange = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if strange:
        return f"{strange[0]} is not a tensor; save tensors, numbers as torch.tensor(...)"
    if (bad := first_not_finite(tensors)) is not None:
        return f"{bad} is not finite"
    return None
