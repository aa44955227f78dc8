"""The tables of benchmarks/decoupled_grid.py: accuracies, claims, CV-DD's votes, and what the sets take on disk."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from grid_runs import Outcomes, Runs, interval, of_sets


class Row(Protocol):
    """What is read of a row of the grid."""

    @property
    def name(self) -> str: ...
    @property
    def against(self) -> tuple[str, ...]: ...
    @property
    def protocols(self) -> tuple[str, ...]: ...
    @property
    def seeds(self) -> int: ...
    def folder(self, seed: int) -> Path: ...


def table(
    chosen: Sequence[Row],
    known: Sequence[Row],
    networks: Mapping[str, Sequence[str]],
    results: Path,
    stated: Mapping[str, tuple[str, str]],
) -> int:
    """Prints all tables as far as they are there.

    networks: students by protocol.  stated: by protocol the one pair whose order was expected beforehand.
    """
    outcomes = Outcomes(results)
    folders = {row.name: [row.folder(seed) for seed in range(row.seeds)] for row in known}
    sizes = {row.name: images_trained_on(row) for row in chosen}
    for protocol, students in networks.items():
        for network in students:
            found = {name: outcomes.accuracies(sets, protocol, network) for name, sets in folders.items()}
            print(f"\n{protocol}, {network}\n")
            print("| row | accuracy (95 %) | by set | runs | updates of each |")
            print("|---|---|---|---|---|")
            for row in chosen:
                if found[row.name]:
                    made = updates(sizes[row.name], protocol, network)
                    print(mean_line(row.name, found[row.name], [runs for runs in found.values() if runs], made))
            print("\n| row | against | difference (95 %) | p, Holm-corrected in this table | by set | verdict |")
            print("|---|---|---|---|---|---|")
            pairs = [(row.name, other) for row in chosen for other in row.against]
            expected = [pair for pair in pairs if pair == stated.get(protocol)]
            others = [pair for pair in pairs if pair not in expected]
            print("\n".join([*claim_lines(expected, found), *claim_lines(others, found)]))
            if lacking := missing(chosen, {row.name: row for row in known}, protocol, found):
                print(f"\nOpen, since one of the two has no accuracy here: {'; '.join(lacking)}.")
    there = [row for row in chosen if row.folder(0).is_dir()]
    print("\n| row | images stored | stands for | bytes of images | labels | bytes | logits | extras | together |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in there:
        print(bill(row))
    for row in there:
        if row.name.startswith("cvdd"):
            print_votes(row)
    print_ratio({row.name: row for row in known})
    return 0


def mean_line(name: str, values: Runs, among: Collection[Runs], made: str) -> str:
    from condense.evaluate.comparisons import mean_of

    whole = mean_of(values, among)
    return f"| {name} | {interval(whole)} | {of_sets(values)} | {whole.n} | {made} |"


def images_trained_on(row: Row) -> int | None:
    """How many images a set stands for; None where the set is not here."""
    from condense import distilled

    return len(distilled.load(row.folder(0)).view()) if row.folder(0).is_dir() else None


def updates(samples: int | None, protocol: str, network: str) -> str:
    """Optimiser steps that a protocol makes on so many images."""
    from condense.evaluate import protocols

    if samples is None:
        return ""
    recipe = protocols.load(protocol).recipe_for(network, samples, flips=True)
    return f"{recipe.epochs * recipe.steps_per_epoch(samples):,}"


def claim_lines(pairs: Sequence[tuple[str, str]], found: Mapping[str, Runs]) -> list[str]:
    """How rows stand to each other by the leaderboard's rule, with the spread of all rows that were found.

    All pairs that share a run are one family of tests, corrected by Holm's rule as the leaderboard's are.
    """
    from condense.evaluate.comparisons import adjusted, compare
    from condense.evaluate.leaderboard.words import basis
    from condense.evaluate.statistics import ALPHA

    everyone = [runs for runs in found.values() if runs]
    gaps = {pair: gap for pair in pairs if (gap := compare(found[pair[0]], found[pair[1]], everyone)) is not None}
    lines = []
    for ((name, other), gap), p in zip(gaps.items(), adjusted(gaps.values()), strict=True):
        means = " ".join(f"{100 * value:+.2f}" for value in gap.by_set.values())
        verdict = f"not separated ({'runs' if gap.over_sets is None else 'distillation seeds'})"
        if p < ALPHA:
            verdict = f"{'ahead' if gap.mean > 0 else 'behind'} {basis(gap)}"
        lines.append(f"| {name} | {other} | {interval(gap.decisive, '+')} | {p:.2g} | {means} | {verdict} |")
    return lines


def missing(chosen: Sequence[Row], known: Mapping[str, Row], protocol: str, found: Mapping[str, Runs]) -> list[str]:
    """The comparisons that a protocol is to have and has not, such as one with `rded` under the same labels."""
    pairs = [(row, known[other]) for row in chosen for other in row.against]
    wanted = [pair for pair in pairs if all(protocol in row.protocols for row in pair)]
    return [f"{row.name} against {other.name}" for row, other in wanted if not (found[row.name] and found[other.name])]


def bill(row: Row) -> str:
    """What a set takes, with its own labels."""
    from condense import distilled

    made = distilled.load(row.folder(0))
    parts, logits = made.bytes(), answer_bytes(made.labels)
    told = [f"{len(made):,}", f"{len(made.view()):,}", f"{parts.images:,}", made.labels.kind, f"{parts.labels:,}"]
    told += ["" if logits is None else f"{logits:,}", f"{parts.extras:,}", f"{parts.total:,}"]
    return f"| {row.name} | {' | '.join(told)} |"


def answer_bytes(labels: Any) -> int | None:
    """Bytes of stored answers, without the classes beside them; None for labels that store none."""
    if labels.kind not in ("soft", "quantised", "regions"):
        return None
    return int(labels.nbytes()) - (0 if labels.classes is None else labels.classes.nbytes)


def print_votes(row: Row) -> None:
    """What CV-DD measured of its members, and what they weigh in the labels of each set."""
    from condense import distilled

    for seed in range(row.seeds):
        if row.folder(seed).is_dir():
            told = distilled.load(row.folder(seed)).provenance
            priors = " ".join(f"{value:.2f}" for value in told.get("priors", ()))
            weights = " ".join(f"{value:.3f}" for value in told["label_recipe"].get("weights", ()))
            print(
                f"\n{row.name}, seed {seed}: priors {priors or 'not measured'} %; votes on labels {weights or 'equal'}"
            )


def print_ratio(rows: Mapping[str, Row]) -> None:
    """INFER's stored logits beside those of CV-DD's store for every epoch, and what its paper says of the ratio."""
    from condense import distilled

    static, stored = rows["infer"].folder(0), rows["cvdd"].folder(0)
    if not (static.is_dir() and stored.is_dir()):
        return
    infer, cvdd = distilled.load(static), distilled.load(stored)
    epochs = cvdd.labels.spec()["epochs"]
    mine, theirs = answer_bytes(infer.labels), answer_bytes(cvdd.labels)
    if mine is None or theirs is None:
        return
    stated = len(infer.view()) / (len(cvdd) * epochs)
    print(f"\nlogits of infer / of {epochs} epochs: {mine:,} / {theirs:,} = {mine / theirs:.6f}; ", end="")
    print(f"K(M + 1) / (ipc epochs) = {len(infer.view())} / ({len(cvdd)} * {epochs}) = {stated:.6f}, ", end="")
    print("exactly the same" if mine * len(cvdd) * epochs == theirs * len(infer.view()) else "which is another ratio")
