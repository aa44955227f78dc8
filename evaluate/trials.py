"""One network of the panel: trained on the set for each seed, scored on the test split after the last epoch."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from condense import machine, networks
from condense.errors import BadInput, Diverged
from condense.evaluate.records import Cell
from condense.run.randomness import generator
from condense.training import Engine, Recipe, Rng, Source, accuracy, check_labels, choose, train_seeds


@dataclass(frozen=True)
class Trial:
    """All that an accuracy can depend on, besides the seed."""

    source: Source  # the set: images and the labels to train on
    test: Source  # the test split in the pixel space of the set
    shape: tuple[int, int, int]  # (C, H, W)
    recipe: Recipe
    network: str
    device: str

    def cells(self, seeds: Sequence[int]) -> Iterator[Cell]:
        """Cells of the seeds as they finish: one each, or one for all where the engine trains them together.

        A network that diverges, cannot take the images or does not fit into memory gives a cell that says so.
        """
        try:
            engine = self.engine(seeds)
        except BadInput as error:
            yield Cell(status="n/a", reason=str(error))
            return
        if engine.name == "batched":
            together = self._cell(list(seeds), engine)
            if together.status == "ok" or len(seeds) == 1:
                yield together
                return
        # One at a time also after a failure of all together, to tell which seed it was.
        for seed in seeds:
            yield self._cell([seed], engine)

    def engine(self, seeds: Sequence[int]) -> Engine:
        """The engine for this much work.

        Raises:
            BadInput: when the network cannot take the images, or the labels were made for steps of another size.
        """
        check_labels(self.source.labels, self.recipe)
        example = self._build(stream(self.network, seeds[0])("init"))
        return choose(self.recipe, example, len(self.source), self.device, shape=self.shape, seeds=len(seeds))

    def accuracies(self, seeds: Sequence[int], engine: Engine) -> list[float]:
        """Fractions of the test split, one per seed; raises Diverged."""
        rngs = [stream(self.network, seed) for seed in seeds]
        trained = train_seeds(self._build, self.source, self.recipe, rngs, engine=engine)
        return [accuracy(network, self.test, engine=engine) for network in trained]

    def _cell(self, seeds: list[int], engine: Engine) -> Cell:
        words = self._words(engine)
        begin = time.perf_counter()
        try:
            accuracies = self.accuracies(seeds, engine)
        except MemoryError as error:
            return Cell(status="failed", reason=f"out of memory: {error}", engine=words)
        except (Diverged, BadInput, RuntimeError) as error:
            if _is_memory(error):
                return Cell(status="failed", reason=f"out of memory: {_line(error)}", engine=words)
            failures = {str(seed): _line(error) for seed in seeds}
            return Cell(status="failed", failures=failures, reason=f"seed {seeds[0]}: {_line(error)}", engine=words)
        each = round((time.perf_counter() - begin) / len(seeds), 3)
        return Cell(status="ok", seeds=seeds, accuracy=accuracies, engine=words, seconds=[each] * len(seeds))

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
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _line(error: Exception) -> str:
    """The first line: the rest of an error of PyTorch's is a trace with addresses, different on every run."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
