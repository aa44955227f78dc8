"""Transfer tables as grids and sections: accuracies, and what a start gains on fresh weights and on the baseline."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from condense.evaluate import comparisons
from condense.evaluate.comparisons import Comparison
from condense.evaluate.leaderboard.grid import INTERVAL, NONE, RUNS, SPREAD, Cell, Column, Grid, each_set, points
from condense.evaluate.leaderboard.sections import Section
from condense.evaluate.statistics import ALPHA
from condense.evaluate.transfer.tables import BASELINES, Row, TransferTable, parts_of

_DIFFERENCE = (
    "mean ± half of the 95 % interval (number of paired runs): mean of each set. With two sets or more it is the "
    "interval over sets, or over runs where that is wider."
)


def section(table: TransferTable) -> Section:
    """What the table is, and how its methods stand against the baseline."""
    protocol, source = table.sample.protocol, table.sample.source
    name, _, meaning = protocol.tier.partition(":")
    about = (
        f"Track {protocol.track}, tier {name}, protocol digest {protocol.digest[:12]}, judge {table.sample.judge}, "
        f"source {source.fingerprint[:12]}, target {table.sample.targets[table.target][:12]}."
    )
    budget = table.budget.replace("-", " ", 1)
    heading = f"{source.name} to {table.target}, {budget}, protocol {table.protocol}"
    warning = (
        "" if name == "full" else f"Tier “{name}”: {meaning.strip() or 'compare its numbers only with each other'}."
    )
    return Section(table.path, heading, about, warning, tuple(_claims(table)))


def grids(table: TransferTable) -> list[Grid]:
    """Accuracies, then differences to fresh weights and to random images with the same teacher's features."""
    found = [_accuracy(table)]
    scratch = table.scratch
    if scratch is not None:
        caption = (
            f"Differences in points to the same network with fresh weights, {_DIFFERENCE} The fresh network of an "
            "evaluation seed stands beside every set; over sets, what fresh networks vary is counted once."
        )
        found.append(_differences(table, "Against fresh weights", caption, lambda row: scratch))
    caption = (
        "Differences in points to random images with the features of the same teacher: what learning the images and "
        f"targets adds to distilling the teacher; {_DIFFERENCE} A row is called ahead or behind in a column where the "
        "paired test there is below 5 % after Holm's correction over the columns of its row; intervals are not "
        "corrected."
    )
    against = _differences(table, "Against random images with teacher features", caption, table.baseline)
    return [*found, against] if against.rows else found


def csv_text(table: TransferTable) -> str:
    """Every run in full precision, one line each."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(
        ["protocol", "source", "target", "budget", "start", "method", "network", "use", "share",
         "distillation seed", "evaluation seed", "accuracy"]
    )  # fmt: skip
    fixed = [table.protocol, table.sample.source.name, table.target, table.budget]
    for row in table.rows:
        for column in table.columns:
            score, (network, use, share) = row.scores.get(column), parts_of(column)
            for (distillation, evaluation), accuracy in sorted(score.runs.items(), key=str) if score else ():
                values = [row.name, row.method, network, use, f"{share:g}", distillation, evaluation, f"{accuracy:.6f}"]
                writer.writerow([*fixed, *values])
    return target.getvalue()


def _accuracy(table: TransferTable) -> Grid:
    notes: list[str] = []
    means = [s.summary.mean for row in table.rows for s in row.scores.values() if s.summary is not None]
    rows = []
    for row in table.rows:
        cells = [Cell(row.name)]
        for column in table.columns:
            score = row.scores.get(column)
            if (found := table.mean(row, column)) is not None:
                shade = (found.mean - min(means)) / (max(means) - min(means)) if max(means) > min(means) else 0.5
                cells.append(Cell(points(found.mean, found.half, found.n), found.mean, (), shade))
            elif score is not None and score.reason is not None:
                if score.reason not in notes:
                    notes.append(score.reason)
                cells.append(Cell(score.reason.partition(":")[0], None, (notes.index(score.reason) + 1,)))
            else:
                cells.append(Cell(NONE))
        rows.append(tuple(cells))
    caption = (
        f"Test accuracy on {table.target} in percent: mean ± half of the 95 % interval (number of runs). {RUNS} "
        f"{INTERVAL} In tests and intervals {SPREAD}, in each column. A column is a use of the start and the share of "
        "the target's labels."
        f"{_probed_with(table.sample.judge)}"
    )
    if any(setting.startswith("untouched-probe@") for _, setting in table.columns):
        caption += (
            " An untouched probe leaves each start the batch-norm statistics of its training, "
            "and fresh networks mean 0 and variance 1."
        )
    if labelled := [row.name for row in table.rows if row.labelled]:
        caption += f" {' and '.join(labelled)} saw the labels of the source, which the other sets did not."
    for row in table.rows:
        for seed, count in row.repeated.items():
            caption += f" {row.name}: seed {seed} gave {count} different sets, whose mean is one run."
    return Grid("Accuracy", caption, _columns(table), tuple(rows), tuple(notes))


def _probed_with(judge: int) -> str:
    """Whose batch-norm statistics a probe sees: a property of the judge, which tables do not mix."""
    shown = "batch-norm statistics from unlabelled training images of the target"
    if judge >= 3:
        return f" Before a probe every start, fresh networks too, takes its {shown}."
    return f" Before a probe fresh networks take their {shown}; the other starts keep theirs." if judge == 2 else ""


def _differences(table: TransferTable, title: str, caption: str, other: Callable[[Row], Row | None]) -> Grid:
    rows = []
    for row in table.rows:
        against = other(row)
        if against is None or against is row:
            continue
        if row.is_reference and not against.is_reference:
            continue
        found = [table.difference(row, against, column) for column in table.columns]
        if any(gap is not None for gap in found):
            rows.append((Cell(row.name), *map(_gap, found)))
    return Grid(title, caption, _columns(table), tuple(rows))


def _gap(found: Comparison | None) -> Cell:
    if found is None:
        return Cell(NONE)
    text = points(found.mean, found.decisive.half, found.over_runs.n, sign=True)
    return Cell(f"{text}: {each_set(found.by_set.values(), sign=True)}" if len(found.by_set) > 1 else text, found.mean)


def _columns(table: TransferTable) -> tuple[Column, ...]:
    return (Column("start", False), *(Column(_named(table, column)) for column in table.columns))


def _named(table: TransferTable, column: tuple[str, str]) -> str:
    """What a column is called: its use and share, after its network where there are several."""
    network, use, share = parts_of(column)
    title = f"{use}, {100 * share:g} %"
    return f"{network}, {title}" if table.several_networks else title


def _claims(table: TransferTable) -> list[str]:
    """For each method: in which columns it is ahead of the baseline, in which behind, and what that speaks of.

    The columns of one sentence are one family of tests, corrected by Holm's rule as the ranks of the other tables are.
    """
    sentences = []
    for row in table.rows:
        if row.is_reference or row.method == BASELINES[0]:
            continue
        against = table.baseline(row)
        if against is None and row.labelled:
            sentences.append(f"{row.name} holds labels of the source and no teacher's features: see fresh weights.")
            continue
        if against is None:
            sentences.append(f"{row.name}: no random images with features of its teacher here, the mandatory baseline.")
            continue
        gaps = {column: gap for column in table.columns if (gap := table.difference(row, against, column)) is not None}
        if not gaps:
            sentences.append(f"{row.name} against {against.name}: they share no run.")
            continue
        separate = [
            (_named(table, column), gap.mean)
            for (column, gap), p in zip(gaps.items(), comparisons.adjusted(gaps.values()), strict=True)
            if p < ALPHA
        ]
        better, worse = ([title for title, mean in separate if sign * mean > 0] for sign in (1, -1))
        sentence = f"{row.name} against {against.name}: ahead in {len(better)} of {len(gaps)} columns"
        sentence += f" ({'; '.join(better)})" if better else ""
        sentence += f", behind in {len(worse)}" + (f" ({'; '.join(worse)})" if worse else "")
        bases = " or ".join({_basis(gap): None for gap in gaps.values()})
        sentences.append(f"{sentence}; paired tests {bases}, Holm-corrected over these columns at 5 %.")
    return sentences


def _basis(gap: Comparison) -> str:
    """What a test of a column is made of, and so what it speaks of."""
    if gap.over_sets is not None:
        return f"over the means of {gap.over_sets.n} distillation seeds and over runs"
    if gap.of_sets_only:
        return "over the runs of one set, which speak of this set and not of the method"
    return "over runs"
