"""From transfer records to tables of numbers: pure functions of a results folder.

A table holds one protocol version, source, target and budget. A row is a start: a reference (fresh networks,
self-supervision on the whole source), or a method in one configuration over its distillation seeds. A run is one
distillation seed with one evaluation seed; references have evaluation seeds only, and stand beside every distillation
seed of a method they are compared with.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from condense import files
from condense.errors import BadInput
from condense.evaluate import comparisons, statistics
from condense.evaluate.comparisons import Comparison, Runs
from condense.evaluate.parts import Cell
from condense.evaluate.settings import pools
from condense.evaluate.statistics import Run, Summary
from condense.evaluate.transfer.records import TransferRecord
from condense.identity import digest

BASELINES = ("random_teacher", "kmeans_teacher")  # rows that a method is compared with come before the methods
REFERENCES = {"scratch": "From scratch", "self-supervised": "Full set, self-supervised"}
Column = tuple[str, str]  # network, use@share


@dataclass(frozen=True)
class Score:
    """What one start reached in one column: finished runs, and why others are missing."""

    runs: Mapping[Run, float]  # fractions; the distillation seed is None for a reference
    reason: str | None = None  # of a score that is not complete

    @cached_property
    def summary(self) -> Summary | None:
        """None without a run, and for a start that failed on a seed: a mean over the others would flatter it."""
        return statistics.summary(list(self.runs.values())) if self.runs and self.reason is None else None


@dataclass(frozen=True)
class Row:
    """One start on one target."""

    method: str  # of the sets, or the name of the reference
    name: str
    is_reference: bool
    config: Mapping[str, object]
    seeds: tuple[int, ...]  # of distillation; empty for a reference
    scores: Mapping[Column, Score]
    labelled: bool = False  # whether the sets hold labels of the source, which rows of representations have not seen
    repeated: Mapping[int, int] = field(default_factory=dict)  # distillation seeds that gave several sets: how many

    def runs(self, column: Column) -> Runs:
        """Empty where there is no mean."""
        score = self.scores.get(column)
        return {} if score is None or score.summary is None else score.runs


@dataclass(frozen=True)
class TransferTable:
    """All starts of one protocol version, source, target and budget: references, baselines, then methods by name."""

    sample: TransferRecord
    target: str
    budget: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def protocol(self) -> str:
        return f"{self.sample.protocol.name}-{self.sample.protocol.version}"

    @property
    def path(self) -> str:
        """Where the table's files lie below the leaderboard folder, without their suffix."""
        pair = f"{files.safe_name(self.sample.source.name)}_to_{files.safe_name(self.target)}"
        return f"{self.protocol}/{pair}/{self.budget}"

    @property
    def several_networks(self) -> bool:
        return len({network for network, _ in self.columns}) > 1

    @property
    def scratch(self) -> Row | None:
        return next((row for row in self.rows if row.method == "scratch"), None)

    def difference(self, row: Row, other: Row, column: Column) -> Comparison | None:
        """How one start stands to the other, by the spread of the column; None without a number or a common run."""
        return comparisons.compare(row.runs(column), other.runs(column), self._runs(column))

    def mean(self, row: Row, column: Column) -> Summary | None:
        """Mean of a start, with the interval over sets where it has several; None without a number."""
        runs = row.runs(column)
        return comparisons.mean_of(runs, self._runs(column)) if runs else None

    def _runs(self, column: Column) -> list[Runs]:
        return [runs for row in self.rows if (runs := row.runs(column))]

    def baseline(self, row: Row) -> Row | None:
        """The row of random images with features of the teacher that `row` has too.

        None when there is none, and for sets with labels, which hold no teacher's features, or of an unknown teacher.
        """
        if row.labelled or "teacher" not in row.config:
            return None
        candidates = [other for other in self.rows if other.method == BASELINES[0] and other is not row]
        matching = [other for other in candidates if _share_settings(row.config, other.config)]
        return matching[0] if matching else None


def parts_of(column: Column) -> tuple[str, str, float]:
    """Network, use of the start, and share of the target's labels, by which columns are ordered too."""
    network, setting = column
    use, _, share = setting.partition("@")
    return network, use, float(share)


def tables(records: Iterable[TransferRecord]) -> list[TransferTable]:
    """Every table that the records give, ordered by protocol, source, target and budget.

    Raises:
        BadInput: when records of one table come from different judges, protocol texts or data.
    """
    groups: dict[tuple[str, str], list[TransferRecord]] = defaultdict(list)
    for record in records:
        groups[f"{record.protocol.name}-{record.protocol.version}", record.source.name].append(record)
    found = []
    for (protocol, source), group in sorted(groups.items()):
        _same_measure(group, f"{protocol}, {source}")
        references = [record for record in group if record.budget is None]
        for target in sorted({name for record in group for name in record.targets}):
            for budget in sorted({record.budget_name for record in group if record.budget_name}, key=_budget_order):
                sets = [record for record in group if record.budget_name == budget and target in record.targets]
                if sets:
                    shown = [record for record in references if target in record.targets]
                    found.append(_table(target, budget, shown, sets))
    return found


def _table(
    target: str, budget: str, references: Sequence[TransferRecord], sets: Sequence[TransferRecord]
) -> TransferTable:
    rows = [_reference(record, target) for record in references] + _of_sets(sets, target)
    columns = {column: None for row in rows for column in row.scores}
    return TransferTable(sets[0], target, budget, tuple(sorted(columns, key=parts_of)), tuple(rows))


def _reference(record: TransferRecord, target: str) -> Row:
    scores = {column: _score([(None, cell)]) for column, cell in _cells(record, target)}
    return Row(record.start, REFERENCES[record.start], True, {}, (), scores)


def _of_sets(records: Sequence[TransferRecord], target: str) -> list[Row]:
    sets = [record.set for record in records if record.set is not None]
    rows = []
    for pool in pools(sets):
        found: dict[Column, list[tuple[int | None, Cell]]] = defaultdict(list)
        for index in pool.members:
            for column, cell in _cells(records[index], target):
                found[column].append((sets[index].seed, cell))
        first, seeds = sets[pool.members[0]], Counter(sets[index].seed for index in pool.members)
        rows.append(
            Row(
                method=first.method,
                name=pool.name,
                is_reference=False,
                config=first.config,
                seeds=tuple(seeds),
                scores={column: _score(cells) for column, cells in found.items()},
                labelled=first.labels != "representation",
                repeated={seed: count for seed, count in seeds.items() if count > 1},
            )
        )
    return sorted(rows, key=_row_order)


def _cells(record: TransferRecord, target: str) -> list[tuple[Column, Cell]]:
    return [((at.network, at.setting), cell) for at, cell in record.places() if at.target == target]


def _score(cells: Iterable[tuple[int | None, Cell]]) -> Score:
    values: dict[Run, list[float]] = defaultdict(list)
    reasons: dict[str, None] = {}
    for seed, cell in cells:
        for evaluation, accuracy in zip(cell.seeds, cell.accuracy, strict=True):
            values[seed, evaluation].append(accuracy)  # sets of one seed from two machines are one run: their mean
        if cell.status != "ok":
            reasons[f"{cell.status}: {cell.reason}"] = None
    runs = {run: math.fsum(found) / len(found) for run, found in values.items()}
    return Score(runs, "; ".join(reasons) or None)


def _share_settings(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _same_measure(records: Sequence[TransferRecord], where: str) -> None:
    """Refuses to set side by side what was not measured alike."""
    for name in ("judge", "protocol", "source"):
        if len({digest(record.model_dump(mode="json")[name]) for record in records}) > 1:
            raise BadInput(f"{where}: records were judged with a different {name}; judge them again or move them away")
    known: dict[str, str] = {}
    for target, fingerprint in (pair for record in records for pair in record.targets.items()):
        if known.setdefault(target, fingerprint) != fingerprint:
            raise BadInput(f"{where}: records mean different data by the target {target}; judge them on the same data")


def _row_order(row: Row) -> tuple[int, str]:
    return (BASELINES.index(row.method) if row.method in BASELINES else len(BASELINES), row.name)


def _budget_order(name: str) -> tuple[str, float]:
    kind, _, value = name.partition("-")
    return (kind, float(value))
