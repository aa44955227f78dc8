"""The judge: trains fresh networks on a set and measures them on the test split.

It is given a training view of the set (no method, no configuration, no name), the data set and a protocol. The accuracy
is that of the last epoch; nothing is chosen by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from condense import networks as architectures
from condense.data import Dataset
from condense.distilled import TrainingView
from condense.errors import BadInput
from condense.evaluate.offers import training_source, why_not
from condense.evaluate.parts import Cell
from condense.evaluate.protocol import Protocol
from condense.evaluate.trials import Trial
from condense.evaluate.version import JUDGE
from condense.training import SplitSource, on_device

if TYPE_CHECKING:
    from condense.run import Run

__all__ = ["JUDGE", "judge"]


def judge(
    view: TrainingView,
    dataset: Dataset,
    protocol: Protocol,
    *,
    networks: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    done: Collection[tuple[str, int]] = (),
    run: Run | None = None,
    device: str = "cpu",
) -> Iterator[tuple[str, Cell]]:
    """Yields (network, cell) as results come in, for the caller to merge into a record at once.

    A set that does not offer what the protocol needs gives n/a cells with the reason; a network that fails gives a
    failed cell, and the others go on.

    Args:
        networks: names; None is the protocol's panel for images of this size.
        seeds: None is range(protocol.seeds).
        done: (network, seed) pairs to leave out.
        run: keeps checkpoints of every training, shows how far it is, and has the cache that a protocol with a teacher
            of its own needs. A judging that was killed goes on with the same call, within a network too.

    Raises:
        UnknownName: for a network that does not exist.
        BadInput: for a set that does not fit the data set, or an empty choice of networks or seeds.
    """
    panel = _panel(networks, dataset, protocol)
    wanted = _seeds(seeds, protocol)
    _check_fit(view, dataset)
    if reason := why_not(view.offers, protocol.needs):
        return iter([(network, Cell(status="n/a", reason=reason)) for network in panel])
    pending = {network: [seed for seed in wanted if (network, seed) not in done] for network in panel}
    pending = {network: left for network, left in pending.items() if left}
    if pending and protocol.teacher is not None and run is None:
        raise BadInput(f"protocol {protocol.name} trains a teacher: give judge a run to cache it with")
    return _cells(view, dataset, protocol, pending, run, device)


def _cells(
    view: TrainingView,
    dataset: Dataset,
    protocol: Protocol,
    pending: dict[str, list[int]],
    run: Run | None,
    device: str,
) -> Iterator[tuple[str, Cell]]:
    if not pending:
        return
    place = torch.device(device)
    labels = None
    if protocol.teacher is not None and run is not None:
        from condense.evaluate.teacher import teacher_labels

        labels = teacher_labels(protocol, dataset.train, view.preprocessing, run).to(place)
    source = on_device(training_source(view, protocol.needs, labels), place)
    test = on_device(SplitSource(dataset.test, view.preprocessing), place)
    for network, seeds in pending.items():
        recipe = protocol.recipe_for(network, len(source), flips=dataset.flips, step_size=view.step_size)
        trial = Trial(source, test, dataset.shape, recipe, network, device, protocol.seeds, run)
        yield from ((network, cell) for cell in trial.cells(seeds))


def _panel(networks: Sequence[str] | None, dataset: Dataset, protocol: Protocol) -> list[str]:
    if networks is None:
        networks = protocol.networks(dataset.shape)
    names = list(dict.fromkeys(architectures.canonical(name) for name in networks))
    if not names:
        raise BadInput(f"no network to judge with; leave --networks out for the panel of {protocol.name}, or name one")
    return names


def _seeds(seeds: Sequence[int] | None, protocol: Protocol) -> list[int]:
    wanted = sorted(set(range(protocol.seeds) if seeds is None else seeds))
    if not wanted or wanted[0] < 0:
        raise BadInput(f"seeds are one or more whole numbers of at least 0, got {wanted}")
    return wanted


def _check_fit(view: TrainingView, dataset: Dataset) -> None:
    if view.classes != dataset.classes:
        raise BadInput(
            f"the set knows the classes {_few(view.classes)}, {dataset.name} has {_few(dataset.classes)}; "
            "judge it on the data set that it was made from"
        )
    shape = tuple(view.gather(torch.zeros(1, dtype=torch.int64)).shape[1:])
    if shape != tuple(dataset.shape):
        raise BadInput(f"the set's images are {shape}, those of {dataset.name} {tuple(dataset.shape)}; (C, H, W)")


def _few(names: Sequence[str]) -> str:
    return f"{len(names)}: {', '.join(names[:3])}" + (", ..." if len(names) > 3 else "")
