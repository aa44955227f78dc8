"""What a table is and allows to be said, in words: which synthesising methods beat random images, and by what right."""

from __future__ import annotations

from condense.evaluate.comparisons import Comparison
from condense.evaluate.leaderboard.board import BASELINE, PATCHES, Table
from condense.evaluate.leaderboard.grid import each_set, points
from condense.evaluate.statistics import ALPHA


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
        gain, p = table.gain(row), table.corrected_gain(row)
        if table.beside(row) is None:
            others.append(f"{row.name}: no `{BASELINE}` with its labels here, so how much these give is open.")
        elif gain is not None and gain.mean > 0 and p is not None and p < ALPHA:
            beating.setdefault(basis(gain), []).append(row.name)
        elif gain is not None and gain.mean > 0 and p is not None and gain.p is not None and gain.p < ALPHA:
            others.append(
                f"{row.name} is not separated from `{BASELINE}` after Holm's correction (p = {p:.2g}), though it is "
                f"by itself (p = {gain.p:.2g}): {measured(gain)}."
            )
        else:
            others.append(f"{row.name} {_not_beating(gain)}")
    claims = [
        f"{', '.join(names)} {'beats' if len(names) == 1 else 'beat'} `{BASELINE}` {rest}; Holm-corrected."
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
        return f"by the tests over {gap.over_sets.n} distillation seeds and over runs"
    if gap.of_sets_only:
        return "by the test over runs of one set, which speaks of the sets and not of the methods"
    return "by the test over runs"


def _not_beating(gain: Comparison | None) -> str:
    """The end of a sentence that says what is missing to a claim."""
    if gain is None:
        return f"shares no run with `{BASELINE}` on the networks that count, so the two cannot be compared."
    found = gain.decisive
    if found.p is None:
        why = "they share one run only" if found.n == 1 else "no evaluation seed is common to their sets"
        return f"does not beat `{BASELINE}` outside an interval: {why} ({points(found.mean, sign=True)} points)."
    if found.half is None:
        return (
            f"does not beat `{BASELINE}`: all {found.n} differences over {_unit(gain)} are "
            f"{points(found.mean, sign=True)} points, for which the exact sign-flip test gives p = {found.p:.2g}."
        )
    return f"does not beat `{BASELINE}` outside the 95 % interval: {measured(gain)}."


def measured(gain: Comparison) -> str:
    """The difference with the interval of its test, and the mean of each set."""
    found = gain.decisive
    each = f", {each_set(gain.by_set.values(), sign=True)} by set" if len(gain.by_set) > 1 else ""
    return f"{points(found.mean, found.half, sign=True)} points over {found.n} {_unit(gain)}{each}"


def _unit(gain: Comparison) -> str:
    return "paired runs" if gain.decisive is gain.over_runs else "distillation seeds"
