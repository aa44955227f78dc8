"""Bench: distil and judge with many methods; what is finished is found again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from condense import methods as registry
from condense import networks as architectures
from condense.api.distilling import distill
from condense.api.place import RESULTS, Place, require_writable
from condense.api.relabelling import label_recipe, relabel
from condense.api.scoring import score
from condense.budget import Budget
from condense.data import Split
from condense.errors import Diverged, Unsuitable
from condense.evaluate import protocols, records


@dataclass
class BenchReport:
    """What a benchmark call left: the records of every set, and in words what could not be done."""

    records: list[Path] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # not failures: the method does not exist for this budget


def bench(
    dataset: str,
    budgets: Sequence[Budget],
    *,
    methods: Sequence[str] | None = None,
    preset: str | None = "cpu",
    protocol: str = "quick",
    networks: Sequence[str] | None = None,
    seeds: int | None = None,
    distill_seeds: int = 1,
    labels: str | Path | None = None,
    results: Path = RESULTS,
    command: str | None = None,
    place: Place | None = None,
) -> BenchReport:
    """Distils and judges with many methods; finished work is found again, a failure does not stop the others.

    Args:
        methods: None is every built-in method that can work with the budget.
        preset: the configuration of every method; None is each paper's main setting.
        protocol: as `score` takes it: a name, a name with its version, or a file.
        distill_seeds: sets of each method, with seeds 0, 1, ...; a method that draws nothing makes one, because its
            copies would count as repetitions that they are not.
        labels: what every set is labelled with before it is judged, as `relabel` takes it; None leaves its own labels.

    Raises:
        BadInput: for what cannot be done, before hours were spent; Unsuitable when a method asked for by name cannot.
    """
    place, report = place or Place(), BenchReport()
    sets = _sets(methods, preset, distill_seeds)
    _require_possible(networks, labels, protocol, results)
    _require_enough(place.dataset(dataset).train, budgets)
    for budget, (name, seed) in itertools.product(budgets, sets):
        what = f"{name}, {budget}, seed {seed}"
        place.progress.say(what)
        try:
            folder = distill(name, dataset, budget=budget, seed=seed, preset=preset, place=place)
            if labels is not None:
                folder = relabel(folder, labels, dataset=dataset, place=place)
        except Unsuitable as error:
            if methods is not None:  # asked for by name
                raise
            report.left_out.append(f"{what}: {error}")
            continue
        except Diverged as error:
            report.failures.append(f"{what}: {error}")
            continue
        record = score(
            folder,
            protocol,
            networks=networks,
            seeds=seeds,
            dataset=dataset,
            results=results,
            command=command,
            place=place,
        )
        report.records.append(record)
        report.failures += [f"{what}: {network} (see {record})" for network in _failed(record)]
    return report


def _require_possible(networks: Sequence[str] | None, labels: str | Path | None, protocol: str, results: Path) -> None:
    """Refuses what the judge would refuse, before hours are spent on sets."""
    require_writable(results, "--results")
    for network in networks or ():
        architectures.canonical(network)
    if labels is not None:
        label_recipe(labels)
    protocols.load(protocol)


def _require_enough(train: Split, budgets: Sequence[Budget]) -> None:
    """Refuses a budget that the classes cannot meet, before sets are made for those before it."""
    for budget in budgets:
        budget.counts(train.class_counts(), train.classes)


def _failed(record: Path) -> list[str]:
    """Networks that the judge could not train."""
    return [network for network, cell in records.read(record).cells.items() if cell.status == "failed"]


def _sets(methods: Sequence[str] | None, preset: str | None, seeds: int) -> list[tuple[str, int]]:
    """Method and distillation seed of every set; a misspelt name is told before hours were spent on the others."""
    names = list(methods) if methods is not None else registry.built_in()
    plugins = [registry.get(name) for name in names]
    for plugin in plugins:
        plugin.config(preset)
    return [
        (name, seed)
        for name, plugin in zip(names, plugins, strict=True)
        for seed in range(seeds if plugin.about.seeded else 1)
    ]
