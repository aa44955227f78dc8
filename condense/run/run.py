"""The run: one directory, one seed, and everything of a distillation that is not the algorithm."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch

from condense import files
from condense.errors import BadInput
from condense.machine_code import machine_code
from condense.progress import NoProgress, Progress
from condense.run import cached
from condense.run.clock import Clock
from condense.run.folder import CLOCK, LOCK, begun, forget
from condense.run.jobs import Jobs
from condense.run.loop import Phase
from condense.run.randomness import generator
from condense.run.settings import Settings
from condense.run.state import State
from condense.run.store import Schema, Store
from condense.run.turns import Turns

if TYPE_CHECKING:
    from condense.distilled import DistilledSet

Validator = Callable[["DistilledSet"], float]
Network = TypeVar("Network", bound=torch.nn.Module)
P = ParamSpec("P")
R = TypeVar("R")


class Run:
    """Opens (or continues) the run in a directory.  Use it as a context manager, or close it.

    Args:
        directory: the run's own folder; what is in it decides what still has to be done.
        seed: the only source of randomness, together with the names given to `rng`.
        request: what the run is for, as plain values; a directory is continued only for an equal request.
        cache_dir: where values shared between runs are kept; None is the user's cache.
        checkpoint_seconds: time between checkpoints of a phase; 0 saves after every step.
        check_every: steps between looks for values that are not finite; there is no device wait in between.
        time_budget: seconds of work, counted over all continuations, after which every phase ends early.
        validator: what `validate` asks; only a method that declares that it selects is given one.
        compile: build machine code for what a method gives to `compiled`, or where it asks `compiles`: a minute or two
            once, then faster steps.
        shared: let several processes work in the directory; they share out jobs and shards, and wait for phases.

    Raises:
        BadInput: when the directory is in use, or holds a run for another request.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        seed: int,
        request: Mapping[str, Any] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        device: str | torch.device = "cpu",
        checkpoint_seconds: float = 30.0,
        check_every: int = 50,
        time_budget: float | None = None,
        progress: Progress | NoProgress | None = None,
        validator: Validator | None = None,
        compile: bool = False,
        shared: bool = False,
    ):
        self.directory = Path(directory)
        self.seed = seed
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.device = torch.device(device)
        self._settings = Settings(
            self.device, checkpoint_seconds, check_every, progress or NoProgress(), compile, shared
        )
        self._validator = validator
        self._turns = Turns()
        self._phases: list[Phase] = []
        self._jobs: list[Jobs] = []
        self._held = ExitStack()
        self._is_new = False  # whether this object began the run, and in a directory that was empty
        self._clock = self._open(request, time_budget)

    # ------------------------------------------------------------------------------------------- what a method uses

    def place(self, network: Network) -> Network:
        """The network on the run's device, in the memory order in which its engine is fast."""
        network.to(self.device)
        if self._settings.compile:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in PyTorch's stubs
        return network

    @property
    def compiles(self) -> bool:
        """Whether the run was asked to compile."""
        return self._settings.compile

    def compiled(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, compiled as one graph if the run was asked to. Results move in their last bits."""
        return machine_code(function) if self._settings.compile else function

    def state(self, **things: Any) -> State:
        """What a loop changes; see `State`."""
        return State(**things)

    def loop(self, name: str, steps: int, state: State | None = None) -> Iterator[int]:
        """Iterates over the steps of a named phase that are still to be done, from 0 to steps - 1.

        When the loop begins, `state` is restored in place; a phase that was finished gives back its end state and
        has no step left. Leave a loop early with `stop`, not with `break`: only the end of the loop is recorded.

        Raises:
            BadInput: for a name used twice, or a loop inside another.
            Diverged: when a tensor of the state or a logged value is not finite.
        """
        self._turns.claim(name)
        phase = Phase(self.directory, name, steps, state or State(), self._settings, self._clock)
        self._phases.append(phase)
        return self._turns.take(name, iter(phase))

    def stop(self, reason: str) -> None:
        """Ends the active loop after its current step, and records why."""
        self._active_phase("run.stop").stop(reason)

    def jobs(self, name: str, items: Sequence[Any]) -> Jobs:
        """Independent jobs: iterate over the pending ones and `save` each, then take `results()`."""
        self._turns.claim(name)

        def open_run(directory: Path, seed: int) -> Run:
            part = self._inner(directory, seed)
            part._clock.outer = self._clock
            return part

        folder = self.directory / "jobs" / name
        jobs = Jobs(folder, name, items, self.seed, self._settings, self._turns.take, open_run, self._clock.save)
        self._jobs.append(jobs)
        return jobs

    def store(self, name: str, shards: int, schema: Schema) -> Store:
        """A streamed store: write each shard of `missing()`, then `read` them one at a time.

        Args:
            schema: field -> (dtype name, shape); None in a shape is any length.
        """
        self._turns.claim(name)
        folder = self.directory / "stores" / name
        return Store(folder, name, shards, schema, self.seed, self._settings, self._turns.take)

    def cached(
        self,
        key: Mapping[str, Any],
        build: Callable[[Run], Mapping[str, Any]],
        version: int = 1,
        *,
        engine: str | None = None,
    ) -> dict[str, Any]:
        """A value shared between runs: tensors (on the CPU), numbers and texts, found by its key or built.

        `build` is given a run of its own, which resumes, and whose seed derives from the key alone: the value is the
        same whichever run asked for it first. The key must therefore name all that the value depends on, but for the
        engine (device, threads, compilation), which moves its last bits: unless it is given, that of the first run
        serves all, so that methods side by side have the very same teacher.

        version: of the code that builds it; whoever repairs that code raises it, so that nothing stale is found.
        engine: in words, where a record says which one computed; another one builds another value of the same draws.
        """
        begin = monotonic()
        found = cached.cached(key, build, self.cache_dir, self._inner, version, engine)
        self.share(found.seconds, waited=monotonic() - begin)
        return found.values

    def share(self, seconds: Mapping[str, float], waited: float) -> None:
        """Charges this run with values that other runs use too, for those who keep such values elsewhere than `cached`.

        Args:
            seconds: what the making of each took, by its name, whoever made it.
            waited: the seconds until they were there, which are not this run's own work.
        """
        self._clock.share(seconds, waited)

    def rng(self, name: str, *ids: int) -> torch.Generator:
        """A CPU generator that depends on (seed, name, ids) alone: asked again, it starts again."""
        return generator(self.seed, name, *ids)

    def log(self, **values: float | torch.Tensor) -> None:
        """Records numbers for the current step of the active loop; about a thousand steps of a phase are kept."""
        self._active_phase("run.log").log(values)

    def validate(self, candidate: DistilledSet) -> float:
        """Accuracy in [0, 1], on the held-out part of the training data, of a network trained on the candidate.

        Raises:
            BadInput: for a method that does not declare `selects`.
        """
        if self._validator is None:
            raise BadInput("run.validate is for methods that declare selects=True, and only inside their `choose`")
        return float(self._validator(candidate))

    def within(self, directory: str | os.PathLike[str], *, seed: int, request: Mapping[str, Any]) -> Run:
        """A silent run in a folder of its own, for work that is shared between runs; whoever asks shows its progress.

        It has no time budget: what it makes must not depend on the speed of a machine.
        """
        return self._inner(Path(directory), seed, request, silent=True)

    @property
    def progress(self) -> Progress | NoProgress:
        """Where work that has no loop of this run shows how far it is."""
        return self._settings.progress

    # --------------------------------------------------------------------------------------------- what a driver uses

    @property
    def stops(self) -> dict[str, dict[str, Any]]:
        """What ended early: phase -> {"step": steps done, "reason": why}; of jobs the one with the fewest steps."""
        phases = {phase.name: dict(phase.stopped) for phase in self._phases if phase.stopped is not None}
        return phases | {jobs.name: stop for jobs in self._jobs if (stop := jobs.ended_early) is not None}

    @property
    def elapsed(self) -> float:
        """Seconds of work over all continuations."""
        return self._clock.elapsed

    @property
    def own_seconds(self) -> float:
        """Those of them that did not go into values shared between runs."""
        return self._clock.own

    @property
    def shared_seconds(self) -> dict[str, float]:
        """Seconds that building each of the shared values took that this run used, by value, whoever built it."""
        return dict(self._clock.shared)

    def curves(self) -> list[dict[str, Any]]:
        """The points kept of what was logged: {"phase": name, "step": number, **values}."""
        return [{"phase": phase.name, **line} for phase in self._phases for line in phase.curve.lines]

    def close(self) -> None:
        """Gives the directory back."""
        self._turns.close()
        self._held.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._turns.require_unbroken()
            elif self._is_new and issubclass(kind, BadInput) and not issubclass(kind, files.InUse):
                forget(self.directory)  # asked again, it would be refused again: there is nothing to continue
        finally:
            self.close()

    # -------------------------------------------------------------------------------------------------------- inside

    def _open(self, request: Mapping[str, Any] | None, time_budget: float | None) -> Clock:
        if self.directory.exists() and not self.directory.is_dir():
            raise BadInput(f"{self.directory} is a file where the folder of a run is needed; choose another place")
        self._held.enter_context(files.lock(self.directory / LOCK, timeout=5 if self._settings.shared else 0))
        try:
            self._is_new = begun(self.directory, self.seed, request) and not self._settings.shared
            clock = Clock(self.directory / CLOCK, time_budget)
        except BaseException:
            self._held.close()
            raise
        if self._settings.shared:
            self._held.close()
        return clock

    def _inner(
        self, directory: Path, seed: int, request: Mapping[str, Any] | None = None, *, silent: bool = False
    ) -> Run:
        """A run inside this one.  It has no time budget: what it builds must not depend on the speed of a machine."""
        settings = self._settings
        return Run(
            directory,
            seed=seed,
            request=request,
            cache_dir=self.cache_dir,
            device=self.device,
            checkpoint_seconds=settings.checkpoint_seconds,
            check_every=settings.check_every,
            progress=NoProgress() if silent else settings.progress,
            compile=settings.compile,
        )

    def _active_phase(self, caller: str) -> Phase:
        if not self._phases or self._turns.active != self._phases[-1].name:
            raise BadInput(f"{caller} belongs into the body of a run.loop, and none is active")
        return self._phases[-1]
