"""Trajectory matching on CIFAR-10 at a size for two CPU cores: every method, and every ingredient switched off once.

    python benchmarks/trajectory_grid.py run [--results DIR] [--share 1/2] [--only NAME ...] [--seeds 2] [--dry-run]
    python benchmarks/trajectory_grid.py table [--results DIR] [--only NAME ...]

ConvNet-D3 of width 32 throughout, ZCA for the experts, all 50,000 images: 6 experts of 8 epochs for each recipe, shared
by both budgets, segments of 2 epochs. At IPC 1 the window of MTT, TESLA and FTD ends after epoch 5, since one image of
each class cannot follow what experts learn late (MTT's published window there ends after 3). Students make 20 steps in
200 outer ones, at IPC 10 on 50 images each. Two distillation seeds and five evaluation seeds of `hard-dsa` on the same
network. `run` prints the commands and hands them to `condense`, which finds finished work again: killed and started
anew, it goes on. `--share 1/2` and `--share 2/2` are two processes that divide the sets; experts are shared under
locks. `hard-dsa` is one recipe for all: soft labels are hardened, the learned step size is not used. So the methods of
this family are judged by their papers' own protocol as well: DATM's with its soft labels and step size (`datm`), the
others with the step size that they bring (`mtt`). What soft labels are worth stands there: DATM beside the same with
labels that are not learned.

`table` prints the mean of every row with the means of its distilled sets, the paired differences of all methods, and of
every ingredient, by `hard-dsa` and where both sides share it by their own protocol. Intervals and tests are those of
the leaderboard (condense.evaluate.comparisons): over sets, with the variance between sets of all rows of a budget and
protocol, or over runs where that is wider; rows of one set have theirs over runs alone. p is two-sided, corrected by
Holm over the pairs of methods at one budget and protocol; pairs with an ingredient are a family of their own. The row
`ast` is AST without its gradient penalty. `datm-without-initial` is its authors' other start, any real images with the
labels of one expert instead of the mean of those that recognise them. `table` needs the records alone.

What the size changes of the published settings: windows and ramps end within 8 epochs; the average of FTD keeps 9 % of
its start after 200 steps, as theirs does after 5,000 at IPC 10 (61 % at IPC 1); images move by 1,000 times the
gradient, TESLA's choice, since the steps are few (AST's by less, see there), and the student's step size starts near
where it settles. How long to learn at IPC 10 was chosen with `benchmarks/pilot.py mtt` on held-out training images: 10
student steps in 200 outer ones gave 42.3 %, 20 gave 44.5 %, where DM in 600 steps gave 40.9 % (and 39.0 % on whitened
images, so DM and random keep their papers' pixels). `results/benchmarks/pilot.json` has them.

Core-hours by arithmetic, from 24 s for an epoch of 50,000 images and 0.0023 s for one image of one inner step (one
thread of an AMD EPYC, uncompiled): experts 3.7 (plain 0.3, GSAM 0.6, AST 0.3, without the clipped loss 0.3, with the
gradient penalty 2.1 as measured), 58 sets 1.8, judging them 4.0; together 9.5. Experts and judging are compiled where
the engines' own rules say that it is repaid, which leaves about 7.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grid_runs import Outcomes, Runs, call, changes, interval, of_sets
from processes import run_as_script

NETWORK = "convnet-d3:width=32"
PROTOCOL, EVALUATIONS = "hard-dsa", 5
SETS = Path("runs/trajectory-grid/sets")
RESULTS = "runs/trajectory-grid/results"

SHARED: dict[str, Any] = {"network": "convnet:width=32", "preprocessing": "zca", "experts": 6}
LEARNING: dict[int, dict[str, Any]] = {
    1: {"steps": 200, "student_steps": 20, "batch": None, "lr_images": 1000.0, "step_size": 0.02, "lr_step_size": 1e-5},
    10: {"steps": 200, "student_steps": 20, "lr_images": 1000.0, "step_size": 0.04, "lr_step_size": 1e-5, "batch": 50},
}
WINDOW: dict[str, dict[int, dict[str, Any]]] = {
    "mtt": {1: {"start_epochs": 4}, 10: {"start_epochs": 7}},
    "tesla": {
        ipc: {"expert_epochs": 2, "start_epochs": starts, "soft_labels": False} for ipc, starts in ((1, 4), (10, 7))
    },
    "ftd": {1: {"start_epochs": 4, "ema_decay": 0.988}, 10: {"start_epochs": 7, "ema_decay": 0.988}},
    "datm": {
        1: {"first_start": 4, "last_start": 4, "sequential": False, "epochs": 8, "threshold": 1.1},
        10: {"first_start": 3, "last_start": 7, "rise": 100, "epochs": 8},
    },
    "ast": {
        ipc: {"expert_epochs": 2, "start_epochs": starts, "epochs": 8, "clipping_epochs": 3, "gradient_penalty": 0.0}
        for ipc, starts in ((1, 4), (10, 7))
    },
}
# Heavy-ball steps are ten times as long, so the student of AST starts with a tenth of the step size, learned at a tenth
# of the rate. Its experts are smoothed by the clipped loss alone, and at IPC 10 its images move by 100 times the
# gradient, as in its authors' script for that cell. Both were chosen by three students on a tenth of the training
# images, by sets made from all of them: with the gradient penalty too, a switch that the authors' code leaves off
# unless asked for, they were right on 42.0 % at a rate of 300, 44.2 % at 100 and 42.8 % at 30; without it on 43.1 % at
# 1000 and 46.4 % at 100. By then the first set had been judged on the test images in both forms, which had shown the
# same.
WINDOW["ast"][1] |= {"step_size": 0.002, "lr_step_size": 1e-6}
WINDOW["ast"][10] |= {"lr_images": 100.0, "step_size": 0.002, "lr_step_size": 1e-6}

TITLES = {"ast": "ast, gradient_penalty=0"}  # rows whose name promises more than their settings hold
OFF: dict[str, dict[str, Any]] = {
    "ftd": {"rho": 0.0, "ema_decay": 0.0},
    "datm": {"sequential": False, "labels": "hard", "initial": "real", "threshold": None, "rho": 0.0},
    "ast": {
        "clipping_epochs": 0,
        "initial": "real",
        "balance": False,
        "intermediate": 0.0,
        "perturbation": 0.0,
        "inner_momentum": 0.0,
    },
}
# A method with one thing otherwise; fixed labels are soft as at the start, none at all is `labels=hard` above.
OTHERWISE: dict[str, tuple[str, dict[str, Any]]] = {
    "datm-with-fixed-labels": ("datm", {"labels": "fixed"}),
    "ast-with-gradient_penalty": ("ast", {"gradient_penalty": 2.0}),
}
# The other way round for momentum: without it steps are a tenth as long.
WITH_OFF = {("ast", "inner_momentum"): {"step_size": 0.02, "lr_step_size": 1e-5}}


@dataclass(frozen=True)
class Setting:
    """One row of the table: a method with its settings at one budget."""

    name: str  # method, or method without an ingredient
    method: str
    ipc: int
    fields: dict[str, Any] = field(default_factory=dict)
    title: str = ""  # in the table, where the name does not say it all

    @property
    def own(self) -> str | None:
        """The protocol of its paper, for methods that bring a step size, and where labels are compared."""
        if self.method not in WINDOW or (self.name != self.method and self.name != "datm-with-fixed-labels"):
            return None
        return "datm" if self.method == "datm" else "mtt"

    def folder(self, seed: int) -> Path:
        return SETS / f"{self.name}-ipc{self.ipc}-s{seed}"


def settings() -> Iterator[Setting]:
    """All rows, those that others build on first."""
    plain = {"preprocessing": "normalise"}
    matching = {**plain, "network": "convnet:width=32", "steps": 1000, "real_batch": 64, "lr_images": 5.0}
    for ipc in (1, 10):
        yield Setting("random", "random", ipc, plain)
        yield Setting("dm", "dm", ipc, matching)
        for method in WINDOW:
            title = TITLES.get(method, "")
            yield Setting(method, method, ipc, {**SHARED, **LEARNING[ipc], **WINDOW[method][ipc]}, title)
    for method, ingredients in OFF.items():
        base = {**SHARED, **LEARNING[10], **WINDOW[method][10]}
        for ingredient, value in ingredients.items():
            beside = WITH_OFF.get((method, ingredient), {})
            name = f"{method}-without-{ingredient}"
            title = ", ".join([name, *(f"{field}={value:g}" for field, value in beside.items())])
            yield Setting(name, method, 10, {**base, ingredient: value, **beside}, title)
    for name, (method, changed) in OTHERWISE.items():
        yield Setting(name, method, 10, {**SHARED, **LEARNING[10], **WINDOW[method][10], **changed})


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("action", choices=("run", "table"))
    options.add_argument("--results", default=RESULTS)
    options.add_argument("--share", default="1/1", metavar="I/N", help="of N processes, this is number I")
    options.add_argument("--only", nargs="+", metavar="NAME", help="rows by name, such as mtt or ftd-without-rho")
    options.add_argument("--seeds", type=int, default=2, help="distillation seeds")
    options.add_argument("--dry-run", action="store_true", help="print the commands and do nothing")
    given = options.parse_args()
    chosen = [row for row in settings() if given.only is None or row.name in given.only]
    if not chosen:
        options.error(f"no row is called {' or '.join(given.only)}; --dry-run prints all")
    if given.action == "table":
        return table(chosen, given.seeds, given.results)
    number, of = map(int, given.share.split("/"))
    failed = 0
    for row in chosen[number - 1 :: of]:
        for seed in range(given.seeds):
            # A set that fails (the window of an ablation may diverge) is a result: the others go on.
            failed += not all(call(words, given.dry_run) for words in commands(row, seed, given.results))
    return 1 if failed else 0


def commands(row: Setting, seed: int, results: str) -> list[list[str]]:
    """Distil one set and judge it, by the protocol of its paper too if it has one."""
    folder = str(row.folder(seed))
    budget = ["--dataset", "cifar10", "--ipc", str(row.ipc), "--seed", str(seed), "--threads", "1", "--compile"]
    judging = ["--networks", NETWORK, "--seeds", str(EVALUATIONS), "--threads", "1", "--results", results]
    return [
        ["distill", row.method, *budget, *changes(row.fields), "--out", folder],
        *(["evaluate", folder, "--protocol", name, *judging] for name in (PROTOCOL, row.own) if name),
    ]


def table(rows: list[Setting], seeds: int, results: str) -> int:
    """Prints what is there of every row, of every pair of methods, and of every ingredient."""
    outcomes = Outcomes(results)
    found: dict[tuple[str | None, str, int], Runs] = {}
    for row in settings():
        for protocol in filter(None, (PROTOCOL, row.own)):
            place = (protocol, NETWORK)
            found[protocol, row.name, row.ipc] = outcomes.of_settings(row.method, row.ipc, row.fields, seeds, place)
    print(f"| IPC | row | {PROTOCOL} (95 %) | runs | of each set | own protocol (95 %) |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        values = found[PROTOCOL, row.name, row.ipc]
        other = found.get((row.own, row.name, row.ipc), {})
        if values or other:
            common, own = (_judged_alike(found, protocol, row.ipc) for protocol in (PROTOCOL, row.own))
            judged = f"{row.own}: {_mean(other, own)}" if other else ""
            label = row.title or row.name
            print(f"| {row.ipc} | {label} | {_mean(values, common)} | {len(values)} | {of_sets(values)} | {judged} |")
    _print_pairs(rows, found)
    return 0


def pairs(rows: list[Setting]) -> Iterator[tuple[Setting, Setting]]:
    """All pairs of methods at one budget, the later one first; then every method beside itself changed in one thing."""
    for ipc in sorted({row.ipc for row in rows}):
        methods = [row for row in rows if row.ipc == ipc and row.name == row.method]
        yield from ((second, first) for first, second in itertools.combinations(methods, 2))
        for row in rows:
            if row.ipc == ipc and row.name != row.method:
                yield next(other for other in settings() if (other.name, other.ipc) == (row.method, ipc)), row


def _print_pairs(rows: list[Setting], found: Mapping[tuple[str | None, str, int], Runs]) -> None:
    from condense.evaluate.comparisons import Comparison, adjusted, compare

    families: dict[tuple[int, str, bool], list[tuple[str, Comparison]]] = {}
    for first, second in pairs(rows):
        for protocol in (PROTOCOL, first.own if first.own == second.own else None):
            if protocol is None:
                continue
            runs = [found[protocol, row.name, row.ipc] for row in (first, second)]
            gap = compare(*runs, _judged_alike(found, protocol, first.ipc))
            if gap is not None:
                label = f"{first.title or first.name} - {second.title or second.name}"
                family = first.ipc, protocol, second.name == second.method
                families.setdefault(family, []).append((label, gap))
    print("\n| IPC | protocol | first - second | paired difference (95 %) | pairs | ", end="")
    print("of each distillation seed | p (Holm) |")
    print("|---|---|---|---|---|---|---|")
    for (ipc, protocol, _), gaps in families.items():
        for (label, gap), p in zip(gaps, adjusted(gap for _, gap in gaps), strict=True):
            sets = ", ".join(f"{100 * value:+.2f}" for value in gap.by_set.values())
            wide, n = interval(gap.decisive, "+"), gap.over_runs.n
            print(f"| {ipc} | {protocol} | {label} | {wide} | {n} | {sets} | {p:.2g} |")


def _judged_alike(found: Mapping[tuple[str | None, str, int], Runs], protocol: str | None, ipc: int) -> list[Runs]:
    """Every row of one protocol and budget, which together tell how far sets of one row lie apart."""
    return [runs for (name, _, budget), runs in found.items() if (name, budget) == (protocol, ipc) and runs]


def _mean(values: Runs, among: Collection[Runs]) -> str:
    from condense.evaluate.comparisons import mean_of

    return interval(mean_of(values, among)) if values else ""


if __name__ == "__main__":
    run_as_script(main)
