"""Transfer tables as grids and sections: accuracies, and what a start gains on fresh weights and on the baseline."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from condense.evaluate.leaderboard.grid import NONE, Cell, Column, Grid, points
from condense.evaluate.leaderboard.sections import Section
from condense.evaluate.statistics import Difference
from condense.evaluate.transfer.tables import BASELINES, Row, TransferTable


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
            "Paired differences in points to the same network with fresh weights, mean ± half of the 95 % interval "
            "(pairs). The fresh network of an evaluation seed stands beside every distillation seed, so with several "
            "of these the interval is too narrow by what their fresh networks share."
        )
        found.append(_differences(table, "Against fresh weights", caption, lambda row: scratch))
    caption = (
        "Paired differences in points to random images with the features of the same teacher, mean ± half of the 95 % "
        "interval (pairs): what learning the images and targets adds to distilling the teacher."
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
        for network, setting in table.columns:
            score = row.scores.get((network, setting))
            use, _, share = setting.partition("@")
            for (distillation, evaluation), accuracy in sorted(score.runs.items(), key=str) if score else ():
                values = [row.name, row.method, network, use, share, distillation, evaluation, f"{accuracy:.6f}"]
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
            if score is not None and score.summary is not None:
                found = score.summary
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
        f"Test accuracy on {table.target} in percent: mean ± half of the 95 % interval (runs). A column is a use of "
        "the start and the share of the target's labels."
    )
    return Grid("Accuracy", caption, _columns(table), tuple(rows), tuple(notes))


def _differences(table: TransferTable, title: str, caption: str, other: Callable[[Row], Row | None]) -> Grid:
    rows = []
    for row in table.rows:
        against = other(row)
        if against is None or against is row:
            continue
        if row.is_reference and not against.is_reference:
            continue
        found = [row.difference(against, column) for column in table.columns]
        if any(gap is not None for gap in found):
            rows.append((Cell(row.name), *map(_gap, found)))
    return Grid(title, caption, _columns(table), tuple(rows))


def _gap(found: Difference | None) -> Cell:
    return Cell(NONE) if found is None else Cell(points(found.mean, found.half, found.n, sign=True), found.mean)


def _columns(table: TransferTable) -> tuple[Column, ...]:
    one = len({network for network, _ in table.columns}) == 1
    titles = [_title(setting) if one else f"{network}, {_title(setting)}" for network, setting in table.columns]
    return (Column("start", False), *map(Column, titles))


def _title(setting: str) -> str:
    use, _, share = setting.partition("@")
    return f"{use}, {100 * float(share):g} %"


def _claims(table: TransferTable) -> list[str]:
    """For each method: in which columns it beats the baseline outside the interval, and in which it loses to it."""
    sentences = []
    for row in table.rows:
        if row.is_reference or row.method == BASELINES[0]:
            continue
        against = table.baseline(row)
        if against is None:
            sentences.append(f"{row.name}: no random images with features of its teacher here, the mandatory baseline.")
            continue
        found = {column: row.difference(against, column) for column in table.columns}
        better = [_title(column[1]) for column, gap in found.items() if gap is not None and gap.beats]
        worse = [_title(column[1]) for column, gap in found.items() if gap is not None and _loses(gap)]
        counted = sum(gap is not None for gap in found.values())
        sentence = (
            f"{row.name} against {against.name}: ahead outside the interval in {len(better)} of {counted} columns"
        )
        sentence += f" ({'; '.join(better)})" if better else ""
        sentence += f", behind in {len(worse)}" + (f" ({'; '.join(worse)})" if worse else "") + "."
        if len(row.seeds) < 2:
            sentence += " This is one distillation seed: it speaks of the set, not of the method."
        sentences.append(sentence)
    return sentences


def _loses(gap: Difference) -> bool:
    mirrored = Difference(-gap.mean, gap.std, gap.n, gap.half, gap.p)
    return mirrored.beats
