"""One network of the panel: trained on the set for each seed, scored on the test split after the last epoch."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from condense import files, machine, networks
from condense.errors import BadInput, Diverged
from condense.evaluate.parts import Cell
from condense.identity import digest
from condense.progress import NoProgress
from condense.run.randomness import generator
from condense.training import Engine, OnStep, Recipe, Rng, Source, accuracy, check_labels, choose, train_seeds

if TYPE_CHECKING:
    from condense.run import Run


@dataclass(frozen=True)
class Trial:
    """All that an accuracy can depend on, besides the seed."""

    source: Source  # the set: images and the labels to train on
    test: Source  # the test split in the pixel space of the set
    shape: tuple[int, int, int]  # (C, H, W)
    recipe: Recipe
    network: str
    device: str
    trainings: int  # networks of this architecture that the protocol asks for, done or not
    run: Run | None = None  # where trainings are checkpointed, and who is told how far they are

    def cells(self, seeds: Sequence[int]) -> Iterator[Cell]:
        """Cells of the seeds as they finish: one each, or one for all where the engine trains them together.

        A network that diverges, cannot take the images or does not fit into memory gives a cell that says so. What a
        run keeps of a training goes once the caller has taken its cell and asks for the next.
        """
        try:
            engine = self.engine(seeds[0])
        except BadInput as error:
            yield Cell(status="n/a", reason=str(error))
            return
        epochs, progress = self.recipe.epochs, NoProgress() if self.run is None else self.run.progress
        progress.begin(self.network, epochs * len(seeds))
        try:
            if engine.name == "batched":
                together = self._cell(seeds, engine, lambda epoch, *_: progress.advance(len(seeds) * epoch))
                final = together.status == "ok" or len(seeds) == 1
                if final:
                    yield together
                self._forget(seeds, engine)
                if final:
                    return
            # One at a time also after a failure of all together, to tell which seed it was.
            for number, seed in enumerate(seeds):
                before = number * epochs
                cell = self._cell([seed], engine, lambda epoch, *_, before=before: progress.advance(before + epoch))
                yield cell
                self._forget([seed], engine)
                progress.advance(before + epochs, {"accuracy": cell.accuracy[0]} if cell.accuracy else None)
        finally:
            progress.end()

    def engine(self, seed: int) -> Engine:
        """The engine for this much work, the same when a part of it is done: what is continued must not change it.

        Raises:
            BadInput: when the network cannot take the images, or the labels were made for steps of another size.
        """
        check_labels(self.source.labels, self.recipe)
        example = self._build(stream(self.network, seed)("init"))
        return choose(self.recipe, example, len(self.source), self.device, shape=self.shape, seeds=self.trainings)

    def accuracies(
        self, seeds: Sequence[int], engine: Engine, run: Run | None = None, on_step: OnStep | None = None
    ) -> list[float]:
        """Fractions of the test split, one per seed; raises Diverged.

        run: of these trainings alone, which are checkpointed in it.
        """
        rngs = [stream(self.network, seed) for seed in seeds]
        trained = train_seeds(self._build, self.source, self.recipe, rngs, engine=engine, run=run, on_step=on_step)
        return [accuracy(network, self.test, engine=engine) for network in trained]

    def _cell(self, seeds: Sequence[int], engine: Engine, on_step: OnStep) -> Cell:
        words = self._words(engine)
        begin = time.perf_counter()
        try:
            with self._inside(seeds, engine) as run:
                accuracies = self.accuracies(seeds, engine, run, on_step)
                elapsed = time.perf_counter() - begin if run is None else run.elapsed  # over all continuations
        except files.InUse:
            raise  # another process trains it: no failure of the set
        except (MemoryError, RuntimeError) as error:  # of the machine, so that the next call tries again
            what = "out of memory: " if _is_memory(error) else ""
            return Cell(status="failed", reason=f"{what}{_line(error)}", engine=words)
        except (Diverged, BadInput) as error:
            failures = {str(seed): _line(error) for seed in seeds}
            return Cell(status="failed", failures=failures, reason=f"seed {seeds[0]}: {_line(error)}", engine=words)
        each = round(elapsed / len(seeds), 3)
        return Cell(status="ok", seeds=seeds, accuracy=accuracies, engine=words, seconds=[each] * len(seeds))

    def _inside(self, seeds: Sequence[int], engine: Engine) -> AbstractContextManager[Run | None]:
        """The run of these trainings alone."""
        if self.run is None:
            return nullcontext()
        return self.run.within(self._folder(self.run, seeds, engine), seed=0, request=self._identity(seeds, engine))

    def _forget(self, seeds: Sequence[int], engine: Engine) -> None:
        if self.run is not None:
            files.discard(self._folder(self.run, seeds, engine))

    def _folder(self, run: Run, seeds: Sequence[int], engine: Engine) -> Path:
        """One for each engine: what another one began is not continued."""
        return run.directory / "networks" / digest(self._identity(seeds, engine))[:16]

    def _identity(self, seeds: Sequence[int], engine: Engine) -> dict[str, Any]:
        """What tells one training of a set under a protocol from the others."""
        return {"network": self.network, "seeds": list(seeds), "engine": self._words(engine)}

    def _build(self, generator: torch.Generator) -> nn.Module:
        return networks.build(self.network, self.shape, self.test.n_classes, generator).to(self.device)

    def _words(self, engine: Engine) -> str:
        return f"{engine}; {machine.engine_words(self.device)}"


def stream(network: str, seed: int) -> Rng:
    """rng(name, *ids) of one network and seed, the same for every set.

    Two sets judged with the same seed start from the same weights, which makes their difference a paired one.
    """
    return functools.partial(generator, "judge", network, seed)


def _is_memory(error: Exception) -> bool:
    # On a CPU the allocator raises a plain RuntimeError, known by its words alone.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _line(error: Exception) -> str:
    """The first line: the rest of an error of PyTorch's is a trace with addresses, different on every run."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
