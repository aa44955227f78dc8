"""Tables as comma-separated values, in full precision, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace

from condense.evaluate.comparisons import Rank
from condense.evaluate.leaderboard import reported, words
from condense.evaluate.leaderboard.board import Table
from condense.evaluate.leaderboard.reported import Reported
from condense.evaluate.leaderboard.rows import PARTS, Row


def page(table: Table, sources: list[Reported]) -> str:
    """Every number of a table in full precision, one line per row; accuracies in percent, sizes in bytes."""
    rows = [*zip(table.rows, table.ranks, strict=True), *((row, None) for row in table.references)]
    lines = [_fields(table, row, rank, sources) for row, rank in rows]
    target = io.StringIO()
    writer = csv.DictWriter(target, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return target.getvalue()


def _fields(table: Table, row: Row, rank: Rank | None, sources: list[Reported]) -> dict[str, object]:
    fields: dict[str, object] = {
        "protocol": table.key.protocol, "track": table.sample.protocol.track, "tier": words.tier_name(table),
        "dataset": table.key.dataset, "budget": table.key.budget,
        "best rank": rank and rank.best, "worst rank": rank and rank.worst,
        "method": row.method, "setting": row.described.full, "kind": row.kind,
        "distillation seeds": len(row.seeds), "sets": len(row.sets),
    }  # fmt: skip
    for name in table.networks:
        score = row.scores.get(name)
        fields[f"{name} status"] = score.status if score else "missing"
        fields |= _summary(name, table.mean(row, [name]))
    fields |= _summary("mean", table.mean(row, table.panel))
    fields["mean of each set"] = _each(row.by_set(table.panel))
    gain = table.gain(row)
    shown = None if gain is None else replace(gain.over_runs, mean=gain.mean, half=gain.decisive.half)
    fields |= _summary("IOR", shown)
    fields["IOR p corrected"] = _number(table.corrected_gain(row))
    fields["IOR of each set"] = _each(gain.by_set.values() if gain is not None else ())
    missing = table.recovery(row)
    fields["HLR"] = None if missing is None else _number(100 * missing)
    for part in PARTS:
        fields[f"bytes {part}"] = row.size(part)
    fields["bytes total"] = row.size("total")
    fields |= {"distill seconds": _number(row.distill_seconds), "peak bytes": row.peak_bytes}
    found = reported.beside(sources, table, row)
    budget = "full" if row.kind == "full" else table.key.budget
    fields["reported"] = reported.numbers(found, budget)
    fields["reported source"] = "; ".join(
        f"{source.short}, {source.where}, {source.url} ({printed.status})" for source, printed in found
    )
    return fields


def _summary(name: str, found: object) -> dict[str, object]:
    """Mean, spread and count over runs, and half interval, of a Summary or a Difference, in points."""
    fields = {}
    for part in ("mean", "std", "half"):
        value = getattr(found, part, None)
        fields[f"{name} {part}"] = None if value is None else _number(100 * value)
    return fields | {f"{name} n": getattr(found, "n", None)}


def _each(means: Iterable[float]) -> str | None:
    """Points by distillation seed, divided by semicolons."""
    return "; ".join(f"{100 * mean:.6g}" for mean in means) or None


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"
