"""What whole experiments share: handing commands to `condense`, and reading what came of them.

Used by trajectory_grid.py, decoupled_grid.py, frepo_grid.py, student_norm.py and transfer_factor.py.
"""

from __future__ import annotations

import shlex
import statistics
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

Runs = dict[tuple[int | None, int], float]  # accuracy by distillation and evaluation seed


def changes(fields: Mapping[str, Any]) -> list[str]:
    """The words of a command line that set these fields of a method."""
    words = [f"{name}={'none' if value is None else value}" for name, value in fields.items()]
    return [word for change in words for word in ("--set", change)]


def call(words: list[str], dry_run: bool) -> bool:
    """Runs one command; whether it succeeded."""
    print(shlex.join(["condense", *words]), flush=True)
    return dry_run or subprocess.run([sys.executable, "-m", "condense.cli", *words], check=False).returncode == 0


def unchosen(
    path: Path, words: Collection[str], field: str, chosen: Mapping[str, float], tried: Sequence[float]
) -> list[str]:
    """Why a value of a field is not what a pilot of benchmarks/pilot.py found best, for each place where that is so.

    path: the pilot's file.  words: of the pilot's name but for the field and the place.  chosen: the value at each
    place, which is more words of the name.  tried: all values that have to be there.
    Values that are equally good may all be chosen.
    """
    from condense import files

    known = files.read_json(path) if path.is_file() else {}
    reasons = []
    for place, value in chosen.items():
        means = {
            each: statistics.fmean(accuracy for accuracies in found.values() for accuracy in accuracies)
            for each in tried
            for name, found in known.items()
            if found and {*words, *place.split(), f"{field}={each:g}"} <= set(name.split())
        }
        best = max(means, key=lambda each: means[each], default=None)
        if lacking := [f"{each:g}" for each in tried if each not in means]:
            reasons.append(f"{place}: {field} {', '.join(lacking)} not tried")
        elif best is not None and (value not in means or means[value] < means[best] - 1e-9):
            reasons.append(f"{place}: {field}={best:g} is better than {value:g}")
    return reasons


def interval(value: Any, sign: str = "") -> str:
    """Mean and half of the interval, in points; runs that do not differ at all have none."""
    return f"{100 * value.mean:{sign}.2f}" + (f" ± {100 * value.half:.2f}" if value.half else "")


def of_sets(values: Runs) -> str:
    """The mean of each distillation seed, in points."""
    from condense.evaluate.statistics import by_set

    return ", ".join(f"{100 * mean:.2f}" for mean in by_set(values).values())


def difference(first: Runs, second: Runs, among: Collection[Runs] = ()) -> dict[str, Any] | None:
    """first - second in points, by distillation and evaluation seed: the mean of each distilled pair, how well the mean
    over these sets is known, and the interval and p by the rule of the tables, uncorrected.

    among: what else was measured alike, these two with it, and tells how far sets of one method lie apart.
    None when they share no run.
    """
    from condense.evaluate.comparisons import compare

    gap = compare(first, second, among)
    if gap is None:
        return None
    half, of_these = gap.decisive.half, gap.over_runs.half
    return {
        "mean": 100 * gap.mean,
        "by_distillation_seed": {str(seed): 100 * value for seed, value in gap.by_set.items()},
        "pairs": gap.over_runs.n,
        "half_interval": None if half is None else 100 * half,
        "half_interval_over_runs": None if of_these is None else 100 * of_these,
        "p": gap.p,
    }


class Outcomes:
    """Accuracies in a folder of records, which is read once; so is every set that is asked for by its folder."""

    def __init__(self, results: str | Path) -> None:
        from condense.evaluate import records

        self._records = records.read_all(results)
        self._ids: dict[Path, str | None] = {}

    def accuracies(self, folders: Sequence[Path], protocol: str, network: str) -> Runs:
        """Fractions by (distillation seed, evaluation seed), as far as they are there.

        folders: of the sets of one row, by distillation seed.  network: in any spelling; records have the shortest.
        """
        from condense import networks

        network = networks.canonical(network)
        sets = {name: seed for seed, folder in enumerate(folders) if (name := self._id(folder)) is not None}
        values: Runs = {}
        for record in self._records:
            cell = record.cells.get(network)
            if record.set.id in sets and record.protocol.name == protocol and cell is not None:
                for seed, accuracy in zip(cell.seeds, cell.accuracy, strict=True):
                    values[sets[record.set.id], seed] = accuracy
        return values

    def of_settings(
        self,
        method: str,
        ipc: int,
        fields: Mapping[str, Any],
        seeds: int,
        place: tuple[str, str],
        *,
        preset: str | None = None,
    ) -> Runs:
        """Fractions by (distillation seed, evaluation seed) of the sets of a method with these fields changed.

        Needs the records alone.  place: protocol and network.
        """
        import dataclasses

        from condense import methods

        config = dataclasses.asdict(dataclasses.replace(methods.get(method).config(preset), **fields))
        values: Runs = {}
        for record in self._records:
            made, cell = record.set, record.cells.get(place[1])
            if (made.method, record.budget.get("ipc"), record.protocol.name) != (method, ipc, place[0]) or cell is None:
                continue
            if made.config == config and made.seed < seeds:
                values |= {
                    (made.seed, seed): accuracy for seed, accuracy in zip(cell.seeds, cell.accuracy, strict=True)
                }
        return values

    def _id(self, folder: Path) -> str | None:
        from condense import distilled

        if folder not in self._ids:
            self._ids[folder] = distilled.load(folder).id if folder.is_dir() else None
        return self._ids[folder]
