"""From records to tables of numbers: which rows belong to one table, and who is ahead of whom.

A table holds one protocol version, data set and budget, so tracks never meet in it. `full`, the whole training set, is
a reference and has no rank. The mean and the rank are over the networks that every ranked row was judged on, whatever
came of it: a row that has no number on one of them has neither. Rows are compared by their runs' means over those
networks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from condense import files
from condense.errors import BadInput
from condense.evaluate import comparisons, statistics
from condense.evaluate.comparisons import Comparison, Rank, Runs
from condense.evaluate.leaderboard.rows import Row
from condense.evaluate.leaderboard.rows import rows as rows_of
from condense.evaluate.records import Record
from condense.evaluate.statistics import Summary
from condense.identity import digest

BASELINE = "random"
PATCHES = "rded"  # of real images: with the baseline, what belongs beside sets with soft labels


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
    p_values: Mapping[frozenset[int], float]  # of two ranked rows by their places, corrected over the table

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
        return comparisons.compare(row.runs(self.panel), against.runs(self.panel), self._runs(self.panel))

    def corrected_gain(self, row: Row) -> float | None:
        """The p value of `gain`, corrected with all pairs of the table as the ranks are; None where these have none."""
        against = self.beside(row)
        places = frozenset(place for place, other in enumerate(self.rows) if other is row or other is against)
        return self.p_values.get(places)

    def mean(self, row: Row, networks: Sequence[str]) -> Summary | None:
        """Mean of a row on these networks, with the interval over sets where it has several; None without a number."""
        runs = row.runs(networks)
        return comparisons.mean_of(runs, self._runs(networks)) if runs else None

    def recovery(self, row: Row) -> float | None:
        """Accuracy that is missing to the whole training set (HLR), in a table with hard labels."""
        mine = row.mean(self.panel)
        full = next((mean for mean in (other.mean(self.panel) for other in self.references) if mean), None)
        if mine is None or full is None or self.sample.protocol.track != "common-hard":
            return None
        return statistics.hard_label_recovery(full.mean, mine.mean)

    def alike(self, row: Row) -> Row | None:
        """The row of this table with the method and the setting of a row of another table; None without one."""
        wanted = (row.method, row.described.full)
        return next((other for other in self.rows if (other.method, other.described.full) == wanted), None)

    def _runs(self, networks: Sequence[str]) -> list[Runs]:
        return [runs for row in self.rows if (runs := row.runs(networks))]


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
        rows = {budget: rows_of(group) for budget, group in budgets.items()}
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
    found = comparisons.standings([row.runs(panel) for row in ranked])
    ranks = (*found.ranks, *[None] * (len(ordered) - len(ranked)))
    return Table(key, sample, tuple(networks), panel, tuple(ordered), tuple(references), ranks, found.p_values)


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


def _network_order(name: str) -> tuple[bool, str]:
    return (not name.startswith("convnet"), name)


def _budget_order(name: str) -> tuple[str, float]:
    kind, _, value = name.partition("-")
    return (kind, float(value))
