"""Completing the files of experts: locks, interruptions, and the order in which things reach the disk.

While an expert is trained its file holds the parameters of all finished epochs, and a run beside it holds a checkpoint
that is never ahead of the file. The last epoch comes with the optimiser's state, and then that run goes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condense import files, machine, networks
from condense.data import Split
from condense.errors import BadInput, Diverged
from condense.experts import kept, spent
from condense.experts.engines import choose_engine
from condense.experts.recipe import ExpertRecipe
from condense.experts.trainer import Pixels, Stream, Trainer
from condense.experts.trajectory import Store, Trajectory
from condense.flat import FlatNetwork
from condense.identity import digest
from condense.preprocessing import Preprocessing
from condense.quantities import duration, size
from condense.run import Run
from condense.run.randomness import derived_seed, generator
from condense.training import Engine

# Experts that the batched engine trains as one computation.
_TOGETHER = 8


class _Ahead(Exception):
    """A checkpoint has epochs behind it that a file does not hold."""


def _require_recorded(group: Mapping[int, Trajectory], epochs: int) -> None:
    if any(found.last < epochs for found in group.values()):
        raise _Ahead


class Workshop:
    """One kind of expert: what names its files, and the training of what is missing in them."""

    def __init__(
        self,
        train: Split,
        space: Preprocessing,
        recipe: ExpertRecipe,
        run: Run,
        *,
        store: Store = "float32",
        engine: Engine | None = None,
    ):
        module = networks.build(recipe.network, train.shape, train.n_classes)
        self.network = FlatNetwork(module.to(run.device))
        self.engine = engine or choose_engine(recipe, module, train, run.device)
        self._train, self._space, self._recipe, self._run = train, space, recipe, run
        self._store = store
        self._augmentation = recipe.augmentation(train)
        self._facts: dict[str, Any] = {
            "data": train.fingerprint,
            "preprocessing": space.digest,
            "recipe": recipe.identity() | {"augment": self._augmentation.spec()},
            "engine": {**machine.engine(str(run.device)), "training": str(self.engine)},
            "store": store,
        }
        self.folder = kept.root(run.cache_dir) / digest(self._facts)[:32]
        self._steps = -(-len(train) // recipe.batch)  # of an epoch
        self._pixels: Pixels | None = None

    def trajectory(self, number: int, epochs: int) -> Trajectory:
        """The file of one expert, looked through as far as epoch `epochs`."""
        path = self.folder / f"{number:04d}.trajectory"
        facts = {**self._facts, "number": number}
        found = Trajectory(path, facts, self.network.size, store=self._store, momentum=self._recipe.momentum > 0.0)
        found.survey(epochs)
        return found

    def complete(self, trajectories: Sequence[Trajectory], epochs: int, operations: float) -> None:
        """Trains what is missing; files that another process is at come last.

        operations: of one epoch of one expert, for the announcement.
        """
        self._sweep(trajectories, epochs)
        if all(found.last >= epochs for found in trajectories):
            return
        self._announce(trajectories, epochs, operations)

        progress = self._run.progress

        def done() -> int:
            return sum(min(max(found.last, 0), epochs) for found in trajectories)

        progress.begin("experts", len(trajectories) * epochs, done())
        try:
            for patient in (False, True):
                unfinished = [number for number, found in enumerate(trajectories) if found.last < epochs]
                if patient and unfinished:
                    progress.say(f"waiting for another process, which trains {len(unfinished)} of the experts")
                for group in self._groups(unfinished):
                    held = {number: trajectories[number] for number in group}
                    self._complete_group(held, epochs, patient, lambda: progress.advance(done()))
        finally:
            progress.end()

    def _sweep(self, trajectories: Sequence[Trajectory], epochs: int) -> None:
        """Removes what killed processes left: temporaries, and checkpoints of trainings that had reached their end."""
        files.sweep(self.folder)
        for work in sorted(self.folder.glob("*.work")):
            numbers = [int(number) for number in work.stem.split("-")]
            known = [trajectories[number] for number in numbers if number < len(trajectories)]
            # What a longer training, killed on its way, has written lies behind the epochs that are asked for here.
            if len(known) == len(numbers) and all(found.trained == epochs and found.nothing_beyond for found in known):
                with suppress(files.InUse), files.lock(trajectories[numbers[0]].path, timeout=0):
                    files.discard(work)

    def _announce(self, trajectories: Sequence[Trajectory], epochs: int, operations: float) -> None:
        missing = sum(epochs - min(max(found.last, 0), epochs) for found in trajectories)
        seconds = missing * operations / machine.operations_per_second(str(self._run.device))
        # File by file: what one has of more epochs than are asked for is no room for another.
        needed = sum(max(0, found.nbytes(epochs) - found.held) for found in trajectories)
        self._run.progress.say(
            f"{len(trajectories)} experts of {epochs} epochs, {missing} epochs of them to be trained: "
            f"at least {duration(seconds)}, {size(needed)} more on disk in {self.folder}"
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise BadInput(
                f"the experts need {size(needed)} on disk and {self.folder} has {size(free)}; "
                "choose another --cache-dir, fewer experts or epochs, or --set expert_store=bfloat16-differences"
            )

    def _groups(self, numbers: Sequence[int]) -> Iterator[list[int]]:
        """Experts that train together: neighbours, so that groups do not depend on how many are asked for."""
        together = _TOGETHER if self.engine.name == "batched" else 1
        for block in sorted({number // together for number in numbers}):
            yield [number for number in numbers if number // together == block]

    def _complete_group(
        self, group: Mapping[int, Trajectory], epochs: int, patient: bool, after_epoch: Callable[[], None]
    ) -> None:
        with ExitStack() as held:
            try:
                for found in group.values():
                    held.enter_context(files.lock(found.path, timeout=None if patient else 0))
            except files.InUse:
                return
            by_start: dict[int, dict[int, Trajectory]] = {}
            for number, found in group.items():
                found.survey(epochs)  # another process may have added to it
                if found.last < epochs:
                    by_start.setdefault(found.trained, {})[number] = found
            for start, alike in sorted(by_start.items()):
                self._train_group(alike, start, epochs, after_epoch)

    def _train_group(
        self, group: Mapping[int, Trajectory], start: int, epochs: int, after_epoch: Callable[[], None]
    ) -> None:
        work = self.folder / f"{'-'.join(map(str, sorted(group)))}.work"
        if any(found.damaged or found.last < 0 for found in group.values()):
            # A checkpoint could be ahead of what is left of the file.
            files.discard(work)
        for number, found in sorted(group.items()):
            self._mend(number, found)
        try:
            took = self._go_on(group, work, start, epochs, after_epoch)
        except _Ahead:
            # A file lost its end, which reads as an interrupted writing: all epochs since `start` are done again.
            files.discard(work)
            took = self._go_on(group, work, start, epochs, after_epoch)
        for found in group.values():
            spent.note(found.path, start, epochs, took / len(group))
        files.discard(work)

    def _go_on(
        self,
        group: Mapping[int, Trajectory],
        work: Path,
        start: int,
        epochs: int,
        after_epoch: Callable[[], None],
    ) -> float:
        """Trains from the checkpoint in `work`, or from `start`; returns the seconds it took in all.

        Raises:
            _Ahead: when the checkpoint has epochs behind it that a file does not hold.
        """
        numbers = sorted(group)
        resumed = [group[number].resume() for number in numbers]
        parameters = torch.stack([begin.parameters for begin in resumed]).to(self._run.device)  # (S, P)
        momentum = torch.stack([begin.momentum for begin in resumed]).to(self._run.device)  # (S, P) or (S, 0)
        trainer = self._trainer(numbers)
        with self._run.within(work, seed=0, request={**self._facts, "numbers": numbers}) as inner:
            state = inner.state(parameters=parameters, momentum=momentum)
            for index in inner.loop(f"epochs-{start}-{epochs}", (epochs - start) * self._steps, state):
                epoch, step = divmod(start * self._steps + index, self._steps)
                _require_recorded(group, epoch)
                trainer.step(parameters, momentum, epoch, step)
                if step == self._steps - 1:
                    self._record(group, epoch + 1, parameters, momentum if epoch + 1 == epochs else None)
                    after_epoch()
            _require_recorded(group, epochs)
            return inner.own_seconds

    def _mend(self, number: int, found: Trajectory) -> None:
        """Makes the file one that can be added to: it ends with a sound record, and has at least an epoch 0."""
        found.mend()
        if found.last < 0:
            shape, classes = self._train.shape, self._train.n_classes
            module = networks.build(self._recipe.network, shape, classes, generator(self._seed(number), "init"))
            found.append(0, self.network.flatten(module))

    def _record(self, group: Mapping[int, Trajectory], epoch: int, parameters: Tensor, momentum: Tensor | None) -> None:
        """Adds an epoch to every file of the group; momentum is given for the last one."""
        if not bool(parameters.isfinite().all()):
            raise Diverged(f"experts diverged: parameters after epoch {epoch} are not finite; lower the learning rate")
        for row, number in enumerate(sorted(group)):
            # An interrupted training does some epochs again, to the same bits.
            if epoch > group[number].last:
                group[number].append(epoch, parameters[row], momentum=None if momentum is None else momentum[row])

    def _trainer(self, numbers: Sequence[int]) -> Trainer:
        if self._pixels is None:
            self._pixels = Pixels(self._train, self._space, self._run.device, self.engine)
        streams = [Stream(self._pixels, self._recipe, self._augmentation, self._seed(number)) for number in numbers]
        return Trainer(self.network, streams, self._recipe, self.engine)

    def _seed(self, number: int) -> int:
        """Of data, network and number alone: recipes that differ in one ingredient have equal starts and batches."""
        return derived_seed("expert", self._train.fingerprint, networks.canonical(self._recipe.network), number)
