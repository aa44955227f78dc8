"""The transfer judge: what a start is worth on other data.

It is given a start (for a set: a training view, without method, configuration or name), targets and a protocol.
Accuracies are those of the last step on the whole test split of a target; nothing is chosen by them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from condense import networks as architectures
from condense.data import Dataset
from condense.errors import BadInput, Diverged
from condense.evaluate.parts import Cell
from condense.evaluate.transfer.protocol import Setting, TransferProtocol
from condense.evaluate.transfer.records import Place
from condense.evaluate.transfer.starts import Start
from condense.evaluate.transfer.targets import target_space
from condense.evaluate.transfer.uses import Use

if TYPE_CHECKING:
    from condense.run import Run

Shape = tuple[int, int, int]
Done = Collection[tuple[Place, int]]  # with the seed


@dataclass(frozen=True, eq=False)
class _Job:
    """One cell of one seed that is still to be measured."""

    target: Dataset
    setting: Setting
    place: Place


def transfer(
    start: Start,
    shape: Shape,
    targets: Sequence[Dataset],
    protocol: TransferProtocol,
    run: Run,
    *,
    networks: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    done: Done = (),
) -> Iterator[tuple[Place, Cell]]:
    """Yields the cell of one seed at a time, for the caller to merge into a record at once.

    A set that cannot be trained on gives n/a cells with the reason; a seed that diverges gives failed cells, and the
    others go on. Starts are cached by what they were trained on: another target repeats no pre-training.

    Args:
        shape: (C, H, W) of the source; targets have the same.
        run: has the cache of starts and keeps checkpoints of every fine-tuning, until the caller asks for the next
            cell. What was killed goes on with the same call, within a network too.
        networks, seeds: None is all of the protocol's.
        done: what to leave out.

    Raises:
        UnknownName: for a network that does not exist.
        BadInput: for a target of another shape, or nothing to do.
    """
    named = protocol.networks(shape) if networks is None else networks
    names = list(dict.fromkeys(architectures.canonical(name) for name in named))
    wanted = list(range(protocol.seeds)) if seeds is None else sorted(set(seeds))
    if not (names and wanted and targets):
        raise BadInput("a transfer needs at least one target, one network and one seed")
    for target in targets:
        if tuple(target.shape) != tuple(shape):
            raise BadInput(f"{target.name} has images of {tuple(target.shape)}, the source of {tuple(shape)}")
    return _cells(start, shape, targets, protocol, run, list(itertools.product(names, wanted)), done)


def _cells(
    start: Start,
    shape: Shape,
    targets: Sequence[Dataset],
    protocol: TransferProtocol,
    run: Run,
    pairs: Sequence[tuple[str, int]],
    done: Done,
) -> Iterator[tuple[Place, Cell]]:
    pending = [(name, seed, _jobs(name, seed, targets, protocol, done)) for name, seed in pairs]
    if (why_not := start.why_not()) is not None:
        for _, _, jobs in pending:
            yield from ((job.place, Cell(status="n/a", reason=why_not)) for job in jobs)
        return
    run.progress.begin(protocol.name, sum(len(jobs) for _, _, jobs in pending))
    try:
        count = itertools.count(1)
        for name, seed, jobs in pending:
            for place, cell in _seed(start, name, seed, shape, jobs, protocol, run) if jobs else ():
                yield place, cell
                run.progress.advance(next(count))
    finally:
        run.progress.end()


def _jobs(name: str, seed: int, targets: Sequence[Dataset], protocol: TransferProtocol, done: Done) -> list[_Job]:
    """What one network and seed still lack."""
    jobs = [
        _Job(target, setting, Place(target.name, name, str(setting)))
        for target, setting in itertools.product(targets, protocol.settings())
    ]
    return [job for job in jobs if (job.place, seed) not in done]


def _seed(
    start: Start, name: str, seed: int, shape: Shape, jobs: Sequence[_Job], protocol: TransferProtocol, run: Run
) -> Iterator[tuple[Place, Cell]]:
    """One network and seed: made once, used on every target."""
    try:
        body = start.body(name, shape, seed, run)
    except Diverged as error:
        yield from ((job.place, _failed(seed, f"before the target, {error}")) for job in jobs)
        return
    except BadInput as error:  # this network cannot take images of this size
        yield from ((job.place, Cell(status="n/a", reason=str(error))) for job in jobs)
        return
    for _, group in itertools.groupby(jobs, key=lambda job: job.place.target):
        of_target = list(group)
        target = of_target[0].target
        space = target_space(target.train, start.space).to(run.device)
        use = Use(body, name, seed, target, space, protocol, run)
        for job in of_target:
            yield job.place, _cell(use, job.setting)
            use.forget()


def _cell(use: Use, setting: Setting) -> Cell:
    try:
        outcome = use.outcome(setting)
    except Diverged as error:
        return _failed(use.seed, str(error))
    seconds = round(outcome.seconds, 3)
    return Cell(status="ok", seeds=(use.seed,), accuracy=(outcome.accuracy,), engine=outcome.engine, seconds=(seconds,))


def _failed(seed: int, error: str) -> Cell:
    return Cell(status="failed", failures={str(seed): error}, reason=f"seed {seed}: {error}")
