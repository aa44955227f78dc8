"""From records to tables of numbers: which runs belong to one row, which rows to one table, and who is ahead of whom.

A table holds one protocol version, data set and budget, so tracks never meet in it. A row is one method in one
configuration; its distillation seeds are the sets. `full`, the whole training set, is a reference and has no rank.
The mean and the rank are over the networks that every ranked row was judged on, whatever came of it: a row that has
no number on one of them has neither. A row's accuracy on a network is the mean over all its runs there; rows are
compared by their runs' means over those networks.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from condense import files
from condense.errors import BadInput
from condense.evaluate import statistics
from condense.evaluate.records import Record
from condense.evaluate.statistics import Comparison, Rank, Run, Summary
from condense.identity import digest

Part = Literal["images", "labels", "extras", "preprocessing", "total"]
BASELINE = "random"
PATCHES = "rded"  # of real images: with the baseline, what belongs beside sets with soft labels
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


@dataclass(frozen=True)
class Key:
    """What a table is about; tables are ordered by it."""

    protocol: str  # name and version, as in the records' folder
    dataset: str
    budget: str

    @property
    def path(self) -> str:
        """Where the table's files lie below the leaderboard folder, without their suffix."""
        return f"{self.protocol}/{files.safe_name(self.dataset)}/{self.budget}"


@dataclass(frozen=True)
class Table:
    """All rows of one protocol version, data set and budget: ranked ones first, then those without a rank."""

    key: Key
    sample: Record  # one record, for what all of them share: protocol, data set, judge
    networks: tuple[str, ...]  # every network that a row was judged on
    panel: tuple[str, ...]  # those that every row was judged on
    rows: tuple[Row, ...]
    references: tuple[Row, ...]  # the whole training set, of this budget or, failing that, of any other
    ranks: tuple[Rank | None, ...]  # one per row

    @cached_property
    def baseline(self) -> Row | None:
        """The row of random real images; with several settings, the first in the table."""
        return next((row for row in self.rows if row.method == BASELINE), None)

    def beside(self, row: Row, method: str = BASELINE) -> Row | None:
        """The row of real images, chosen by this method, that a row is held against; of several settings the first.

        In a track where sets bring their own labels it has the very labels of the row, since labels alone carry much of
        a score; None when there is none.
        """
        own = self.sample.protocol.track == "own"
        found = (other for other in self.rows if other.method == method)
        return next((other for other in found if not own or other.label_recipe == row.label_recipe), None)

    def gain(self, row: Row) -> Comparison | None:
        """How a row stands to its baseline, over the panel (IOR); None without one, or when they share no run."""
        against = self.beside(row)
        if against is None or row is against:
            return None
        return statistics.compare(row.runs(self.panel), against.runs(self.panel))

    def recovery(self, row: Row) -> float | None:
        """Accuracy that is missing to the whole training set (HLR), in a table with hard labels."""
        mine = row.mean(self.panel)
        full = next((mean for mean in (other.mean(self.panel) for other in self.references) if mean), None)
        if mine is None or full is None or self.sample.protocol.track != "common-hard":
            return None
        return statistics.hard_label_recovery(full.mean, mine.mean)

    def row(self, method: str, setting: str) -> Row | None:
        return next((row for row in self.rows if (row.method, row.setting) == (method, setting)), None)


def tables(records: Iterable[Record]) -> list[Table]:
    """Every table that the records give, ordered by protocol, data set and budget.

    Raises:
        BadInput: when records that belong to one table come from different judges, protocol texts or data.
    """
    groups: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        protocol = f"{record.protocol.name}-{record.protocol.version}"
        groups[protocol, record.dataset.name][record.budget_name].append(record)
    found = []
    for (protocol, dataset), budgets in sorted(groups.items()):
        _same_measure([record for group in budgets.values() for record in group], f"{protocol} / {dataset}")
        rows = {budget: _rows(group) for budget, group in budgets.items()}
        full = [row for name in sorted(rows, key=_budget_order) for row in rows[name] if row.kind == "full"]
        for budget in sorted(rows, key=_budget_order):
            ranked = [row for row in rows[budget] if row.kind != "full"]
            own = [row for row in rows[budget] if row.kind == "full"]
            if ranked or len(full) == sum(len(group) for group in rows.values()):
                key = Key(protocol, dataset, budget)
                found.append(_table(key, budgets[budget][0], ranked, own or full[:1]))
    return found


def _table(key: Key, sample: Record, rows: Sequence[Row], references: Sequence[Row]) -> Table:
    everyone = [*rows, *references]
    networks = sorted({name for row in everyone for name in row.scores}, key=_network_order)
    judged = rows or references
    panel = tuple(name for name in networks if all(name in row.scores for row in judged))
    means = {id(row): row.mean(panel) for row in rows}

    def order(row: Row) -> tuple[bool, float, str, str]:
        mean = means[id(row)]
        return (mean is None, -mean.mean if mean else 0.0, row.method, row.setting)

    ordered = sorted(rows, key=order)
    ranked = [row for row in ordered if means[id(row)] is not None]
    ranks: list[Rank | None] = [*statistics.ranks([row.runs(panel) for row in ranked])]
    ranks += [None] * (len(ordered) - len(ranked))
    return Table(key, sample, tuple(networks), panel, tuple(ordered), tuple(references), tuple(ranks))


def _rows(records: Sequence[Record]) -> list[Row]:
    settings: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        settings[record.set.method, digest(_identity(record))].append(record)
    rows = []
    for (method, _), group in sorted(settings.items()):
        group.sort(key=lambda record: (record.set.seed, record.set.id))
        first = group[0].set
        row = Row(method, first.title, first.setting, first.title, first.kind, tuple(group), {})
        scores = {name: _score(group, name, row.seeded) for record in group for name in record.cells}
        rows.append(replace(row, scores=scores))
    return _named_apart(rows)


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


def _same_measure(records: Sequence[Record], where: str) -> None:
    """Refuses to set side by side what was not measured alike."""
    for name in ("judge", "protocol", "dataset"):
        by_value = {digest(_plain(getattr(record, name))): record for record in records}
        if len(by_value) > 1:
            first, second = sorted(by_value.values(), key=lambda record: (record.set.method, record.set.id))[:2]
            raise BadInput(
                f"{where}: set {first.set.id[:8]} ({first.set.method}) and set {second.set.id[:8]} "
                f"({second.set.method}) were judged with a different {name}; judge one of them again or move its record"
            )


def _plain(value: object) -> object:
    return value.model_dump() if hasattr(value, "model_dump") else value


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _network_order(name: str) -> tuple[bool, str]:
    return (not name.startswith("convnet"), name)


def _budget_order(name: str) -> tuple[str, float]:
    kind, _, value = name.partition("-")
    return (kind, float(value))
