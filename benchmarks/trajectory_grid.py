"""Trajectory matching on CIFAR-10 at a size for two CPU cores: every method, and every ingredient switched off once.

    python benchmarks/trajectory_grid.py run [--results DIR] [--share 1/2] [--only NAME ...] [--seeds 2] [--dry-run]
    python benchmarks/trajectory_grid.py table [--results DIR]

ConvNet-D3 of width 32 throughout, ZCA, all 50,000 images: 6 experts of 8 epochs for each recipe, segments of 2 epochs.
At IPC 1 students make 20 steps in 200 outer ones, at IPC 10 10 steps on 50 images in 100. Two distillation seeds and
five evaluation seeds of `hard-dsa` on the same network. `run` prints the commands and hands them to `condense`, which
finds finished work again: killed and started anew, it goes on. `--share 1/2` and `--share 2/2` are two processes that
divide the sets; experts are shared under locks. `table` prints means, and each ingredient's paired difference.

What the size changes of the published settings: windows and ramps end within 8 epochs; the average of FTD forgets its
start as far in 100 steps as theirs in 5,000 (8 %); images move by 1,000 times the gradient, TESLA's choice, since the
steps are few, and the student's step size starts near where it settles. Nothing was chosen by accuracy; to choose on
held-out training images: `python benchmarks/pilot.py mtt cifar10 --ipc 10 --vary lr_images 100 1000 --set ...`.

Core-hours by arithmetic, from 24 s for an epoch of 50,000 images and 0.0023 s for one image of one inner step (one
thread of an AMD EPYC, uncompiled): experts 3.2 (plain 0.3, GSAM 0.6, AST 1.0, AST without one of its two ingredients
1.0 and 0.3), 56 sets 1.7, judging them 3.1; together 8.0. Experts and judging are compiled where the engines' own rules
say that it is repaid, which leaves about 6.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NETWORK = "convnet-d3:width=32"
PROTOCOL, EVALUATIONS = "hard-dsa", 5
SETS = Path("runs/trajectory-grid/sets")
RESULTS = "runs/trajectory-grid/results"

SHARED: dict[str, Any] = {"network": "convnet:width=32", "preprocessing": "zca", "experts": 6}
LEARNING: dict[int, dict[str, Any]] = {
    1: {"steps": 200, "student_steps": 20, "batch": None, "lr_images": 1000.0, "step_size": 0.02, "lr_step_size": 1e-5},
    10: {"steps": 100, "student_steps": 10, "lr_images": 1000.0, "step_size": 0.04, "lr_step_size": 1e-5, "batch": 50},
}
WINDOW: dict[str, dict[int, dict[str, Any]]] = {
    "mtt": {1: {"start_epochs": 4}, 10: {"start_epochs": 7}},
    "tesla": {
        ipc: {"expert_epochs": 2, "start_epochs": starts, "soft_labels": False} for ipc, starts in ((1, 4), (10, 7))
    },
    "ftd": {1: {"start_epochs": 4, "ema_decay": 0.988}, 10: {"start_epochs": 7, "ema_decay": 0.975}},
    "datm": {
        1: {"first_start": 4, "last_start": 4, "sequential": False, "epochs": 8, "threshold": 1.1},
        10: {"first_start": 3, "last_start": 7, "rise": 50, "epochs": 8},
    },
    "ast": {
        ipc: {"expert_epochs": 2, "start_epochs": starts, "epochs": 8, "clipping_epochs": 3}
        for ipc, starts in ((1, 4), (10, 7))
    },
}
# Heavy-ball steps are ten times as long, so the student of AST starts with a tenth of the step size.
WINDOW["ast"][1] |= {"step_size": 0.002, "lr_step_size": 1e-6}
WINDOW["ast"][10] |= {"step_size": 0.004, "lr_step_size": 1e-6}

OFF: dict[str, dict[str, Any]] = {
    "ftd": {"rho": 0.0, "ema_decay": 0.0},
    "datm": {"sequential": False, "labels": "hard", "initial": "real", "threshold": None, "rho": 0.0},
    "ast": {
        "clipping_epochs": 0,
        "gradient_penalty": 0.0,
        "initial": "real",
        "balance": False,
        "intermediate": 0.0,
        "perturbation": 0.0,
        "inner_momentum": 0.0,
    },
}
# The other way round for momentum: without it steps are a tenth as long.
WITH_OFF = {("ast", "inner_momentum"): {"step_size": 0.04, "lr_step_size": 1e-5}}


@dataclass(frozen=True)
class Setting:
    """One row of the table: a method with its settings at one budget."""

    name: str  # method, or method without an ingredient
    method: str
    ipc: int
    fields: dict[str, Any] = field(default_factory=dict)

    def folder(self, seed: int) -> Path:
        return SETS / f"{self.name}-ipc{self.ipc}-s{seed}"


def settings() -> Iterator[Setting]:
    """All rows, those that others build on first."""
    plain = {"preprocessing": "zca"}
    matching = {**plain, "network": "convnet:width=32", "steps": 1000, "real_batch": 64, "lr_images": 5.0}
    for ipc in (1, 10):
        yield Setting("random", "random", ipc, plain)
        yield Setting("dm", "dm", ipc, matching)
        for method in WINDOW:
            yield Setting(method, method, ipc, {**SHARED, **LEARNING[ipc], **WINDOW[method][ipc]})
    for method, ingredients in OFF.items():
        base = {**SHARED, **LEARNING[10], **WINDOW[method][10]}
        for ingredient, value in ingredients.items():
            changes = {ingredient: value, **WITH_OFF.get((method, ingredient), {})}
            yield Setting(f"{method}-without-{ingredient}", method, 10, {**base, **changes})


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
            failed += not all(call(command, given.dry_run) for command in commands(row, seed, given.results))
    return 1 if failed else 0


def commands(row: Setting, seed: int, results: str) -> list[list[str]]:
    """Distil one set and judge it."""
    folder = str(row.folder(seed))
    words = [f"{name}={'none' if value is None else value}" for name, value in row.fields.items()]
    changes = [word for change in words for word in ("--set", change)]
    budget = ["--dataset", "cifar10", "--ipc", str(row.ipc), "--seed", str(seed), "--threads", "1"]
    judging = ["--networks", NETWORK, "--seeds", str(EVALUATIONS), "--threads", "1", "--results", results]
    return [
        ["distill", row.method, *budget, *changes, "--out", folder],
        ["evaluate", folder, "--protocol", PROTOCOL, *judging],
    ]


def call(words: list[str], dry_run: bool) -> bool:
    """Runs one command; whether it succeeded."""
    print(shlex.join(["condense", *words]), flush=True)
    return dry_run or subprocess.run([sys.executable, "-m", "condense.cli", *words], check=False).returncode == 0


def table(rows: list[Setting], seeds: int, results: str) -> int:
    """Prints mean and interval of every row that is there, and its paired difference to the row it belongs to."""
    from condense.evaluate.statistics import paired, summary

    found = {(row.name, row.ipc): accuracies(row, seeds, results) for row in settings()}
    print("| IPC | row | accuracy (95 % over runs) | n | against | paired difference (95 % over runs) |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        values = found[row.name, row.ipc]
        if not values:
            continue
        whole = summary(list(values.values()))
        other = row.method if "-without-" in row.name else {"random": None, "dm": "random"}.get(row.name, "dm")
        gap = paired(values, found[other, row.ipc]) if other else None
        difference = "" if gap is None else f"{100 * gap.mean:+.2f} ± {100 * (gap.half or 0):.2f}"
        mean = f"{100 * whole.mean:.2f} ± {100 * (whole.half or 0):.2f}"
        print(f"| {row.ipc} | {row.name} | {mean} | {whole.n} | {other or ''} | {difference} |")
    return 0


def accuracies(row: Setting, seeds: int, results: str) -> dict[tuple[int, int], float]:
    """Fractions by (distillation seed, evaluation seed), as far as they are there."""
    from condense import distilled
    from condense.evaluate import records

    sets = {distilled.load(row.folder(seed)).id: seed for seed in range(seeds) if row.folder(seed).is_dir()}
    values = {}
    for record in records.read_all(results):
        cell = record.cells.get(NETWORK)
        if record.set.id in sets and record.protocol.name == PROTOCOL and cell is not None:
            for seed, accuracy in zip(cell.seeds, cell.accuracy, strict=True):
                values[sets[record.set.id], seed] = accuracy
    return values


if __name__ == "__main__":
    sys.exit(main())
