"""The rows of a table: one method in one configuration, what its sets reached on each network and what they cost.

A row's distillation seeds are its sets. Its accuracy on a network is the mean over all its runs there.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from condense.evaluate import statistics
from condense.evaluate.records import Record
from condense.evaluate.statistics import Run, Summary
from condense.identity import digest

Part = Literal["images", "labels", "extras", "preprocessing", "total"]
PARTS: tuple[Part, ...] = ("images", "labels", "extras", "preprocessing")  # of a set's bytes


@dataclass(frozen=True)
class Score:
    """What one row reached on one network."""

    status: Literal["ok", "n/a", "failed", "missing"]
    runs: Mapping[Run, float]  # fractions; the distillation seed is None where another would give the same set
    reason: str | None = None

    @cached_property
    def summary(self) -> Summary | None:
        return statistics.summary(list(self.runs.values())) if self.status == "ok" else None


@dataclass(frozen=True)
class Row:
    """One method in one configuration, over its distillation seeds."""

    method: str
    title: str
    setting: str  # the preset's name and how much of it was changed, with a piece of hash where two rows share it
    name: str  # the title, with the setting where the method has several rows
    kind: Literal["synthetic", "selection", "full"]
    records: tuple[Record, ...]  # ordered by seed
    scores: Mapping[str, Score]

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({record.set.seed for record in self.records}))

    @property
    def label_recipe(self) -> str | None:
        """Names who gave the labels, and how; None where no teacher did."""
        return self.records[0].set.label_recipe

    @property
    def one_set(self) -> bool:
        """Whether the numbers speak of one distilled set only, not of the method that would draw another."""
        return self.seeded and len(self.seeds) < 2

    @property
    def seeded(self) -> bool:
        """Whether another distillation seed gives another set."""
        return self.kind != "full" and any(record.set.seeded for record in self.records)

    def runs(self, networks: Sequence[str]) -> dict[Run, float]:
        """Mean over networks, each weighing the same, of the runs that all of them share: the unit of pairing.

        Empty when a network has no number, or they share no run.
        """
        scores = [self.scores.get(name) for name in networks]
        if not scores or any(score is None or score.status != "ok" for score in scores):
            return {}
        tables = [score.runs for score in scores if score is not None]
        shared = [run for run in tables[0] if all(run in table for table in tables)]
        return {run: math.fsum(table[run] for table in tables) / len(tables) for run in shared}

    def mean(self, networks: Sequence[str]) -> Summary | None:
        """Mean and interval over the runs on these networks; None when there are none."""
        runs = self.runs(networks)
        return statistics.summary(list(runs.values())) if runs else None

    def by_set(self, networks: Sequence[str]) -> tuple[float, ...]:
        """Mean of each distilled set over its runs on these networks, by distillation seed."""
        return tuple(statistics.by_set(self.runs(networks)).values())

    @cached_property
    def distill_seconds(self) -> float | None:
        """Mean seconds of one distillation, with all of what it shares with other sets."""
        spent = [record.volatile.distill for record in self.records]
        return _mean([cost.seconds + cost.shared_seconds for cost in spent if cost is not None])

    @cached_property
    def peak_bytes(self) -> int | None:
        peaks = [r.volatile.distill.peak_bytes for r in self.records if r.volatile.distill is not None]
        return max((peak for peak in peaks if peak is not None), default=None)

    @cached_property
    def judge_seconds(self) -> float | None:
        """Mean seconds of training and testing one network."""
        return _mean([s for r in self.records for times in r.volatile.cells.values() for s in times.seconds])

    def size(self, part: Part) -> int:
        """Bytes of one part of a set, mean over the row's sets."""
        return round(math.fsum(getattr(record.set.bytes, part) for record in self.records) / len(self.records))


def rows(records: Sequence[Record]) -> list[Row]:
    """The rows of one table, by method; those of one method have names of their own."""
    settings: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        settings[record.set.method, digest(_identity(record))].append(record)
    found = []
    for (method, _), group in sorted(settings.items()):
        group.sort(key=lambda record: (record.set.seed, record.set.id))
        first = group[0].set
        row = Row(method, first.title, first.setting, first.title, first.kind, tuple(group), {})
        scores = {name: _score(group, name, row.seeded) for record in group for name in record.cells}
        found.append(replace(row, scores=scores))
    return _named_apart(found)


def _named_apart(rows: Sequence[Row]) -> list[Row]:
    """Gives rows of one method names of their own: the preset, and a piece of hash where that does not do."""
    methods = Counter(row.method for row in rows)
    presets = Counter((row.method, row.setting) for row in rows)
    named = []
    for row in rows:
        setting = row.setting
        if presets[row.method, row.setting] > 1:
            setting = f"{setting} {digest(_identity(row.records[0]))[:6]}"
        name = row.title if methods[row.method] == 1 else f"{row.title} ({setting})"
        named.append(replace(row, setting=setting, name=name))
    return named


def _identity(record: Record) -> list[object]:
    """What the sets of one row have in common."""
    judged = record.set
    # A switch that is off says no more than its absence: records older than the switch stay in their row.
    config = {name: value for name, value in judged.config.items() if value is not False}
    return [judged.kind, config, judged.labels, judged.preprocessing, judged.trained_on]


def _score(records: Sequence[Record], network: str, seeded: bool) -> Score:
    """One network over a row's sets. One failed set fails the network: a mean over the others would flatter."""
    values: dict[Run, list[float]] = defaultdict(list)
    reasons: dict[Literal["failed", "n/a"], list[str]] = {"failed": [], "n/a": []}
    for record in records:
        cell = record.cells.get(network)
        if cell is None:
            continue
        for seed, accuracy in zip(cell.seeds, cell.accuracy, strict=True):
            # Sets of one seed from two machines are one run: their mean.
            values[record.set.seed if seeded else None, seed].append(accuracy)
        if cell.status != "ok":
            reasons[cell.status].append(f"set of seed {record.set.seed}: {cell.reason}")
    runs = {run: math.fsum(found) / len(found) for run, found in sorted(values.items())}
    for status, found_reasons in reasons.items():
        if found_reasons:
            shared = {reason.split(": ", 1)[1] for reason in found_reasons}
            all_sets = len(shared) == 1 and len(found_reasons) == len(records)
            return Score(status, runs, shared.pop() if all_sets else "; ".join(found_reasons))
    return Score("ok", runs)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
