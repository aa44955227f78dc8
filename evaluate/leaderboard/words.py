"""What a table is and allows to be said, in words: which synthesising methods do not beat random images."""

from __future__ import annotations

from condense.evaluate.leaderboard.board import BASELINE, Row, Table
from condense.evaluate.leaderboard.grid import points


def heading(table: Table) -> str:
    return f"{table.key.dataset}, {table.key.budget.replace('-', ' ', 1)}, protocol {table.key.protocol}"


def about(table: Table) -> str:
    """Which measure the table was made with."""
    protocol = table.sample.protocol
    return (
        f"Track {protocol.track}, tier {tier_name(table)}, protocol digest {protocol.digest[:12]}, "
        f"judge {table.sample.judge}, data {table.sample.dataset.fingerprint[:12]}."
    )


def tier_name(table: Table) -> str:
    """The tier in one word: a protocol's tier reads "full", or "name: what its numbers may be compared with"."""
    return table.sample.protocol.tier.partition(":")[0]


def tier(table: Table) -> str:
    """A sentence for every tier but the full one, to stand at the head of the table; empty otherwise."""
    name, _, meaning = table.sample.protocol.tier.partition(":")
    if name == "full":
        return ""
    return f"Tier “{name}”: {meaning.strip() or 'compare its numbers only with each other'}."


def against_random(table: Table) -> list[str]:
    """One sentence for each synthesising method that does not beat `random` outside the interval on this table."""
    synthetic = [row for row in table.rows if row.kind == "synthetic"]
    if not synthetic:
        return []
    if table.baseline is None:
        return [f"No row of `{BASELINE}` here, so whether the methods beat random images is open."]
    sentences = [sentence for row in synthetic if (sentence := _sentence(table, row))]
    beating = [row for row in synthetic if (gain := table.gain(row)) is not None and gain.beats]
    if beating:
        names = ", ".join(row.name for row in beating)
        verb = "beats" if len(beating) == 1 else "beat"
        sentences.insert(0, f"{names} {verb} `{BASELINE}` outside the 95 % interval.{_caveat(table, beating)}")
    return sentences


def _sentence(table: Table, row: Row) -> str | None:
    gain = table.gain(row)
    if gain is None:
        return f"{row.name} shares no run with `{BASELINE}` here, so the two cannot be compared."
    if gain.beats:
        return None
    if gain.p is None:
        return (
            f"{row.name} does not beat `{BASELINE}` outside an interval: they share one run only "
            f"({points(gain.mean, sign=True)} points), which has no interval."
        )
    if gain.half is None:
        return (
            f"{row.name} does not beat `{BASELINE}`: all {gain.n} paired differences are "
            f"{points(gain.mean, sign=True)} points, for which the exact sign-flip test gives p = {gain.p:.2g}."
        )
    return (
        f"{row.name} does not beat `{BASELINE}` outside the 95 % interval: "
        f"{points(gain.mean, gain.half, sign=True)} points over {gain.n} paired runs."
    )


def _caveat(table: Table, rows: list[Row]) -> str:
    assert table.baseline is not None
    single = [row for row in rows if len(set(row.seeds) & set(table.baseline.seeds)) < 2]
    if not single:
        return ""
    if len(single) == len(rows):
        return " This is one distillation seed: it speaks of the sets, not of the methods."
    return f" For {', '.join(row.name for row in single)} this is one distillation seed: it speaks of that set."
