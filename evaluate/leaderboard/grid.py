"""A table as cells of text with notes: what Markdown, LaTeX, the page and the terminal all print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from condense.evaluate import statistics
from condense.evaluate.comparisons import Rank
from condense.evaluate.leaderboard import replication, reported
from condense.evaluate.leaderboard.board import Table
from condense.evaluate.leaderboard.reported import Reported
from condense.evaluate.leaderboard.rows import PARTS, Row
from condense.evaluate.statistics import Summary
from condense.quantities import duration, size

NONE = "–"
RUNS = "A run is one distillation seed with one evaluation seed; the runs of one set share its distillation."
SPREAD = "the variance between sets is pooled over the rows of the table, and for no row less than its own sets show"
INTERVAL = (
    "Of two sets or more the interval is over sets, or over runs where that is wider; of one set it is over its runs "
    "and speaks of this set, not of the method."
)
RULE = (
    "A row is better than another by paired tests, Holm-corrected over the table at 5 %: where they share two "
    "distillation seeds or more, over the means of their sets and over their runs as well, and the larger p counts; "
    f"with one, over its runs, which speaks of the sets and not of the methods. In tests and intervals {SPREAD}."
)
RANKS = (
    "Ranks run from one more than the number of rows that are better to the number of rows that are not worse: "
    "places that no single test excludes."
)


@dataclass(frozen=True)
class Cell:
    """Text, the number it sorts by, the notes it refers to (1-based), and how far to shade it (0 to 1)."""

    text: str
    value: float | None = None
    notes: tuple[int, ...] = ()
    shade: float | None = None

    @property
    def marked(self) -> str:
        """The text with the numbers of its notes."""
        return self.text + "".join(f" [{number}]" for number in self.notes)


@dataclass(frozen=True)
class Column:
    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Grid:
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Notes:
    """Footnotes of one grid; the same reason is printed once."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def accuracy(table: Table, sources: list[Reported]) -> Grid:
    """Rank, method, accuracy on every network, mean over the panel, and what papers print."""
    notes = _Notes()
    shading = _shading(table)
    columns = [Column("rank"), Column("method", False), Column("setting", False)]
    columns += [Column(name) for name in table.networks]
    columns += [Column("mean"), Column("sets"), Column("mean of each set")]
    printed = any(reported.beside(sources, table, row) for row, _ in _ranked(table))
    if printed:
        columns += [Column("reported"), Column("source of reported", False)]
    rows = []
    for row, rank in _ranked(table):
        cells = [_rank_cell(table, row, rank, notes), Cell(row.title), _setting_cell(row, notes)]
        for name in table.networks:
            cells.append(_score_cell(table, row, name, notes, shading))
        cells.append(_summary_cell(table.mean(row, table.panel), shading))
        cells += [_sets_cell(table, row, notes), _each(row.by_set(table.panel))]
        if printed:
            cells += _reported_cells(table, row, sources, notes)
        rows.append(tuple(cells))
    caption = (
        f"Test accuracy in percent: mean ± half of the 95 % interval (number of runs). {RUNS} {INTERVAL} Means and "
        f"rank are over {_listed(table.panel)}. {RANKS} {RULE} So a row that varies much has many ranks left."
    )
    if not table.panel:
        caption += " No network was judged for every row, so there is no mean and no rank."
    return Grid("Accuracy", caption, tuple(columns), tuple(rows), tuple(notes.texts))


def cost(table: Table) -> Grid:
    """What each set weighs and what it took to make and to judge it."""
    columns = [Column("method", False), Column("setting", False), Column("images in set"), Column("bytes")]
    columns += [Column(part) for part in PARTS]
    columns += [Column("distil"), Column("peak memory"), Column("judge, per network")]
    rows = []
    for row, _ in _ranked(table):
        cells = [Cell(row.title), Cell(row.setting), _count(row), _bytes(row.size("total"))]
        cells += [_bytes(row.size(part)) for part in PARTS]
        cells += [_seconds(row.distill_seconds), _bytes(row.peak_bytes), _seconds(row.judge_seconds)]
        rows.append(tuple(cells))
    caption = (
        "Bytes of the stored set, seconds and peak memory of one distillation, seconds of training one network. What "
        "several sets share, such as a feature network, is computed once and counts in full for each of them."
    )
    return Grid("Cost", caption, tuple(columns), tuple(rows))


def robustness(table: Table, plain: Table | None = None) -> Grid | None:
    """IOR and HLR with the scores made of them; None without a row of random images.

    plain: the same data set and budget under the protocol without augmentation, for ARS.
    """
    if table.baseline is None:
        return None
    rows = []
    for row in table.rows:
        gain, missing = table.gain(row), table.recovery(row)
        if gain is None:
            continue
        lrs = None if missing is None else statistics.label_robust_score(gain.mean, missing)
        other = plain.alike(row) if plain is not None else None
        plain_gain = plain.gain(other) if plain is not None and other is not None else None
        ars = None if plain_gain is None else statistics.augmentation_robust_score(gain.mean, plain_gain.mean)
        ior = Cell(points(gain.mean, gain.decisive.half, gain.over_runs.n, sign=True), gain.mean)
        each = _each(tuple(gain.by_set.values()), sign=True)
        hlr = Cell(points(missing), missing) if missing is not None else Cell(NONE)
        rows.append((Cell(row.title), Cell(row.setting), ior, each, hlr, _score(lrs), _score(ars)))
    if not rows:
        return None
    columns = (
        Column("method", False),
        Column("setting", False),
        Column("IOR"),
        Column("IOR of each set"),
        Column("HLR"),
    )
    caption = (
        "IOR: gain over random images in points (higher is better), mean ± half of the 95 % interval (number of paired "
        "runs), which is that of the test behind the ranks, over sets or over runs, but not corrected. HLR: points "
        "missing to the whole training set under the same hard-label protocol (lower is better). LRS and ARS as in "
        "DD-Ranking (arXiv 2505.13300), from fractions, with weight 0.5; ARS sets this protocol against the one "
        "without augmentation. Where every row is judged alike, LRS orders rows as accuracy does, whatever its weight."
    )
    return Grid("Against random and full data", caption, (*columns, Column("LRS@0.5"), Column("ARS@0.5")), tuple(rows))


def points(mean: float | None, half: float | None = None, n: int | None = None, *, sign: bool = False) -> str:
    """A fraction in points: "45.3 ± 0.7 (6)"."""
    if mean is None:
        return NONE
    rounded = round(100 * mean, 1) + 0.0  # + 0.0 makes a negative zero positive
    text = f"{rounded:+.1f}" if sign else f"{rounded:.1f}"
    if half is not None:
        text += f" ± {100 * half:.1f}"
    return text if n is None else f"{text} ({n})"


def each_set(means: Iterable[float], *, sign: bool = False) -> str:
    """The mean of every distilled set, by seed: "41.8 / 38.2"."""
    return " / ".join(points(mean, sign=sign) for mean in means)


def _each(means: Sequence[float], *, sign: bool = False) -> Cell:
    """Empty for one set, whose mean is the row's."""
    return Cell(each_set(means, sign=sign) if len(means) > 1 else NONE, min(means) if len(means) > 1 else None)


def _ranked(table: Table) -> list[tuple[Row, Rank | None]]:
    return [*zip(table.rows, table.ranks, strict=True), *((row, None) for row in table.references)]


def _rank_cell(table: Table, row: Row, rank: Rank | None, notes: _Notes) -> Cell:
    if rank is not None:
        return Cell(str(rank), rank.best)
    if row.kind == "full":
        why = "The whole training set: a reference, not ranked."
        if (budget := row.records[0].budget_name) != table.key.budget:
            why = f"The whole training set, judged under {budget}: a reference, not ranked."
    else:
        why = "Not ranked: no number on one of the networks that count."
    return Cell("ref" if row.kind == "full" else NONE, None, (notes.add(why),))


def _setting_cell(row: Row, notes: _Notes) -> Cell:
    unsaid = ", ".join(row.described.unsaid)
    return Cell(row.setting, None, (notes.add(f"Changed from {row.described.preset}: {unsaid}."),) if unsaid else ())


def _score_cell(table: Table, row: Row, network: str, notes: _Notes, shading: tuple[float, float]) -> Cell:
    score = row.scores.get(network)
    if score is None:
        return Cell(NONE)
    if score.status != "ok":
        return Cell(score.status, None, (notes.add(f"{score.status}: {score.reason}"),))
    return _summary_cell(table.mean(row, [network]), shading)


def _summary_cell(found: Summary | None, shading: tuple[float, float]) -> Cell:
    if found is None:
        return Cell(NONE)
    low, high = shading
    shade = (found.mean - low) / (high - low) if high > low else 0.5
    return Cell(points(found.mean, found.half, found.n), found.mean, (), min(1.0, max(0.0, shade)))


def _shading(table: Table) -> tuple[float, float]:
    """Lowest and highest mean of the rows that compete; the reference would flatten their shades."""
    found = [score.summary.mean for row in table.rows for score in row.scores.values() if score.summary is not None]
    return (min(found), max(found)) if found else (0.0, 1.0)


def _sets_cell(table: Table, row: Row, notes: _Notes) -> Cell:
    text = "one set" if row.one_set and not row.repeated else str(len(row.sets))
    return Cell(text, len(row.sets), tuple(map(notes.add, replication.remarks(table, row))))


def _reported_cells(table: Table, row: Row, sources: list[Reported], notes: _Notes) -> tuple[Cell, Cell]:
    found = reported.beside(sources, table, row)
    if not found:
        return Cell(NONE), Cell(NONE)
    budget = "full" if row.kind == "full" else table.key.budget
    origins: dict[tuple[str, str, str], list[str]] = {}  # (network, number, status) -> sources that print it
    marks: dict[int, None] = {}
    epochs: dict[int, None] = {}
    for source, printed in found:
        origin = (printed.network, reported.number(printed, budget), printed.status)
        origins.setdefault(origin, []).append(source.short)
        marks[notes.add(f"{source.short}: {source.paper}, {source.where}, {source.url}.")] = None
        if printed.differs:
            marks[notes.add(f"Printed with another recipe: {printed.differs}.")] = None
        if reported.other_epoch(source, printed):
            epochs[notes.add(f"* {source.short} prints the {source.epoch}; all other columns are of the last.")] = None
    if row.described.changes:
        marks[notes.add("Printed for the setting as it is, without the changes of this row.")] = None
    texts = dict.fromkeys(f"{', '.join(names)} ({status})" for (_, _, status), names in origins.items())
    first = found[0][1].percent[budget][0]
    return Cell(reported.numbers(found, budget), first, tuple(epochs)), Cell("; ".join(texts), None, tuple(marks))


def _count(row: Row) -> Cell:
    counts = sorted({record.set.count for record in row.records})
    return Cell(" to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))), counts[-1])


def _score(value: float | None) -> Cell:
    return Cell(NONE) if value is None else Cell(f"{value:.4f}", value)


def _bytes(count: int | None) -> Cell:
    return Cell(NONE if count is None else size(count), count)


def _seconds(value: float | None) -> Cell:
    return Cell(NONE if value is None else duration(value), value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "no network"
