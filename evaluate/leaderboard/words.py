"""What a table is and allows to be said, in words: which synthesising methods beat random images, and by what right."""

from __future__ import annotations

from condense.evaluate.leaderboard.board import BASELINE, PATCHES, Table
from condense.evaluate.leaderboard.grid import each_set, points
from condense.evaluate.statistics import Comparison


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
    """Which synthesising methods beat `random` on this table, and one sentence for each that does not.

    Of sets with soft labels also, which of them have no `rded` beside them.
    """
    synthetic = [row for row in table.rows if row.kind == "synthetic"]
    if not synthetic:
        return []
    if table.baseline is None:
        return [f"No row of `{BASELINE}` here, so whether the methods beat random images is open.", *_no_patches(table)]
    beating: dict[str, list[str]] = {}  # names by what the claim rests on
    others = []
    for row in synthetic:
        gain = table.gain(row)
        if table.beside(row) is None:
            others.append(f"{row.name}: no `{BASELINE}` with its labels here, so how much these give is open.")
        elif gain is not None and gain.beats:
            beating.setdefault(basis(gain), []).append(row.name)
        else:
            others.append(f"{row.name} {_not_beating(gain)}")
    claims = [
        f"{', '.join(names)} {'beats' if len(names) == 1 else 'beat'} `{BASELINE}` {rest}."
        for rest, names in beating.items()
    ]
    return claims + others + _no_patches(table)


def _no_patches(table: Table) -> list[str]:
    """A sentence about the sets with soft labels that no `rded` with the very same labels stands beside."""
    track = table.sample.protocol.track
    soft = [row for row in table.rows if track == "common-soft" or (track == "own" and row.label_recipe is not None)]
    made = [row for row in soft if row.kind == "synthetic" and row.method != PATCHES]
    lacking = [row for row in made if table.beside(row, PATCHES) is None]
    if not lacking:
        return []
    where, labels = f"No row of `{PATCHES}` here", "soft labels"
    if any(row.method == PATCHES for row in table.rows):
        whose = "its" if len(lacking) == 1 else "their"
        where, labels = f"{', '.join(row.name for row in lacking)}: no `{PATCHES}` with {whose} labels here", "them"
    return [f"{where}, so how far patches of real images come with {labels} is open."]


def basis(gap: Comparison) -> str:
    """What a claim about these two rests on: sets where they were drawn more than once, otherwise runs."""
    if gap.over_sets is not None:
        return f"outside the 95 % interval over {gap.over_sets.n} distillation seeds"
    if len(gap.by_set) == 2:
        return "with both sets, outside the 95 % interval over runs"
    if gap.of_sets_only:
        return "outside the 95 % interval over runs of one set: it speaks of the sets, not of the methods"
    return "outside the 95 % interval over runs"


def _not_beating(gain: Comparison | None) -> str:
    """The end of a sentence that says what is missing to a claim."""
    if gain is None:
        return f"shares no run with `{BASELINE}` on the networks that count, so the two cannot be compared."
    each = f" ({each_set(gain.by_set.values(), sign=True)} by set)" if len(gain.by_set) > 1 else ""
    if len(gain.by_set) == 2 and not gain.agree:
        return f"does not beat `{BASELINE}` with both sets: {each_set(gain.by_set.values(), sign=True)} points."
    found, unit = gain.over_runs, "paired runs"
    if gain.over_sets is not None and gain.p == gain.over_sets.p:  # the larger of two p values decides
        found, unit = gain.over_sets, "distillation seeds"
    if found.p is None:
        return (
            f"does not beat `{BASELINE}` outside an interval: they share one run only "
            f"({points(found.mean, sign=True)} points), which has no interval."
        )
    if found.half is None:
        return (
            f"does not beat `{BASELINE}`: all {found.n} differences over {unit} are {points(found.mean, sign=True)} "
            f"points, for which the exact sign-flip test gives p = {found.p:.2g}."
        )
    return (
        f"does not beat `{BASELINE}` outside the 95 % interval over {found.n} {unit}: "
        f"{points(found.mean, found.half, sign=True)} points{each}."
    )
