"""The rows of a table: one method in one configuration, what its sets reached on each network and what they cost.

A row's distillation seeds are its sets; seeds that gave the same set are one. Its accuracy on a network is the mean
over all its runs there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from condense.evaluate import statistics
from condense.evaluate.leaderboard.same_sets import distinct
from condense.evaluate.records import Record
from condense.evaluate.settings import Setting, pools
from condense.evaluate.statistics import Run, Summary

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
    described: Setting
    name: str  # the title, with what tells it from the others where the method has several rows
    kind: Literal["synthetic", "selection", "full"]
    records: tuple[Record, ...]  # ordered by seed
    scores: Mapping[str, Score]

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({record.set.seed for record in self.records}))

    @property
    def setting(self) -> str:
        """The setting in so few words that they fit a table."""
        return self.described.short

    @cached_property
    def sets(self) -> tuple[tuple[Record, ...], ...]:
        """The records of each distilled set; sets of equal content are one, whichever seed gave them."""
        return tuple(map(tuple, distinct(self.records)))

    @cached_property
    def repeated(self) -> dict[int, tuple[Record, ...]]:
        """Distillation seeds that gave several sets, by other code or on another machine, with a record of each."""
        found: dict[int, list[Record]] = defaultdict(list)
        for group in self.sets:
            for seed, record in {record.set.seed: record for record in reversed(group)}.items():
                found[seed].append(record)
        return {seed: tuple(group) for seed, group in sorted(found.items()) if len(group) > 1}

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
        """Whether another distillation seed gives another set, by what the method says and as far as it was tried."""
        same = len(self.seeds) > 1 and len(self.sets) == 1
        return self.kind != "full" and not same and any(record.set.seeded for record in self.records)

    @cached_property
    def run_seeds(self) -> dict[str, int | None]:
        """Under which distillation seed the runs of a set count, by its id: the first that gave it, None for any."""
        firsts = {r.set.id: min(other.set.seed for other in group) for group in self.sets for r in group}
        return {name: seed if self.seeded else None for name, seed in firsts.items()}

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
    found = []
    for pool in pools([record.set for record in records]):
        group = [records[index] for index in pool.members]
        first = group[0].set
        row = Row(first.method, first.title, pool.setting, pool.name, first.kind, tuple(group), {})
        scores = {name: _score(group, name, row.run_seeds) for record in group for name in record.cells}
        found.append(replace(row, scores=scores))
    return found


def _score(records: Sequence[Record], network: str, run_seeds: Mapping[str, int | None]) -> Score:
    """One network over a row's sets. One failed set fails the network: a mean over the others would flatter.

    run_seeds: the distillation seed of each set's runs, by its id.
    """
    values: dict[Run, list[float]] = defaultdict(list)
    reasons: dict[Literal["failed", "n/a"], list[str]] = {"failed": [], "n/a": []}
    for record in records:
        cell = record.cells.get(network)
        if cell is None:
            continue
        for seed, accuracy in zip(cell.seeds, cell.accuracy, strict=True):
            # Several sets of one seed are one run, their mean; the table says so.
            values[run_seeds[record.set.id], seed].append(accuracy)
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
