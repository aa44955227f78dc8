"""FRePo on CIFAR-10, IPC 1 and 10, in the common tracks, at a size for two CPU cores.

    python benchmarks/frepo_grid.py run [--results DIR] [--share 1/2] [--threads 1] [--dry-run]
    python benchmarks/frepo_grid.py table [--results DIR]

The preset of the published table with a network of a quarter of its width and a quarter of its real batch, for fewer
steps: 6,000 at IPC 1 and 3,000 at IPC 10, where the authors make 500,000. Two distillation seeds; three evaluation
seeds of `hard-narrow` and `soft-narrow` on a ConvNet of width 32 and a ResNet-10 of width 16, beside random images.
`hard-narrow` keeps the class of the largest learned label and `soft-narrow` asks its own teacher, so neither sees what
the published 46.8 and 65.5 % (`results/reported/`) rest on: FRePo's own labels, trained by a squared error on a network
of FRePo's own kind. They stand beside the table and are no target of it.

The rate at each budget is chosen first by the pilots of `benchmarks/pilot.py` on held-out training images; `run`
refuses to begin until the rates in RATES are among those that stand in the pilot's file. `run` prints its commands and
hands them to `condense`, which finds finished work again: killed and started anew, it goes on. `--share 1/2` and
`--share 2/2` are two processes that divide the sets. `table` needs the records alone.

Core-hours, from the pilots: 0.25 for a set at IPC 1 and 0.3 at IPC 10, judging all eight sets 1.2, the teacher of
`soft-narrow` 0.4; together 2.7.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grid_runs import Outcomes, call, changes, interval, of_sets, unchosen
from processes import run_as_script

DATASET, BUDGETS, SEEDS, EVALUATIONS = "cifar10", (1, 10), 2, 3
PROTOCOLS = ("hard-narrow", "soft-narrow")
STUDENTS = ("convnet-d3:width=32", "resnet10:norm=batch,width=16")
ROOT = Path("runs/frepo-grid")
PILOT = Path("results/benchmarks/pilot.json")
PRESET = "published-cifar10"
STEPS = {1: 6_000, 10: 3_000}
TRIED = (0.001, 0.003, 0.01)
RATES = {1: 0.003, 10: 0.003}  # of images and labels, by budget, the best of the pilots; published 3e-4
SHARED: dict[str, Any] = {"network": "convnet:width=32,growth=2,norm=batch,norm_at=input", "real_batch": 256}


@dataclass(frozen=True)
class Setting:
    """One row of a table: a method with its settings at one budget."""

    method: str
    ipc: int
    preset: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    def folder(self, seed: int) -> Path:
        return ROOT / "sets" / f"{self.method}-ipc{self.ipc}-s{seed}"


def settings() -> Iterator[Setting]:
    for ipc in BUDGETS:
        yield Setting("random", ipc)
        yield Setting("frepo", ipc, PRESET, {**SHARED, "steps": STEPS[ipc], "lr": RATES[ipc]})


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("action", choices=("run", "table"))
    options.add_argument("--results", type=Path, default=ROOT / "results")
    options.add_argument("--share", default="1/1", metavar="I/N", help="of N processes, this is number I")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--dry-run", action="store_true", help="print the commands and do nothing")
    given = options.parse_args()
    if given.action == "table":
        return table(given.results)
    if not given.dry_run and (lacking := unpiloted()):
        options.error(f"{PILOT}: {'; '.join(lacking)}: run the pilot, and set RATES by what it finds")
    number, of = map(int, given.share.split("/"))
    everything = [(row, seed) for row in settings() for seed in range(SEEDS)]
    failed = 0
    for row, seed in everything[number - 1 :: of]:
        failed += not all(call(words, given.dry_run) for words in commands(row, seed, given.results, given.threads))
    return 1 if failed else 0


def unpiloted() -> list[str]:
    """Why a rate is not what the pilot of its budget found best, for each budget where that is so."""
    words = ["frepo", DATASET, PRESET, "recipe=hard-narrow", *(f"{name}={value}" for name, value in SHARED.items())]
    return unchosen(PILOT, words, "lr", {f"ipc={ipc}": rate for ipc, rate in RATES.items()}, TRIED)


def commands(row: Setting, seed: int, results: Path, threads: int) -> list[list[str]]:
    """Distil one set and judge it by both protocols."""
    folder, using = str(row.folder(seed)), ["--threads", str(threads)]
    preset = [] if row.preset is None else ["--preset", row.preset, "--compile"]
    budget = ["--dataset", DATASET, "--ipc", str(row.ipc), "--seed", str(seed)]
    making = ["distill", row.method, *budget, *preset, *changes(row.fields), *using, "--out", folder]
    judging = ["--networks", *STUDENTS, "--seeds", str(EVALUATIONS), *using, "--results", str(results)]
    return [making, *(["evaluate", folder, "--protocol", protocol, *judging] for protocol in PROTOCOLS)]


def table(results: Path) -> int:
    """Prints what is there of every row, and how FRePo stands to random images."""
    from condense.evaluate.comparisons import compare, mean_of

    outcomes = Outcomes(results)
    print("| IPC | protocol | network | row | accuracy (95 %) | runs | of each set |")
    print("|---|---|---|---|---|---|---|")
    gaps = []
    for ipc in BUDGETS:
        for protocol in PROTOCOLS:
            for network in STUDENTS:
                found = {
                    row.method: outcomes.of_settings(
                        row.method, ipc, row.fields, SEEDS, (protocol, network), preset=row.preset
                    )
                    for row in settings()
                    if row.ipc == ipc
                }
                where = f"| {ipc} | {protocol} | {network} |"
                judged = [values for values in found.values() if values]
                for method, values in found.items():
                    if values:
                        mean = interval(mean_of(values, judged))
                        print(f"{where} {method} | {mean} | {len(values)} | {of_sets(values)} |")
                if (gap := compare(found["frepo"], found["random"], judged)) is not None:
                    sets = ", ".join(f"{100 * value:+.2f}" for value in gap.by_set.values())
                    gaps.append(f"{where} {interval(gap.decisive, '+')} | {gap.over_runs.n} | {sets} |")
    print("\n| IPC | protocol | network | frepo - random (95 %) | pairs | of each distillation seed |")
    print("|---|---|---|---|---|---|")
    print("\n".join(gaps))
    return 0


if __name__ == "__main__":
    run_as_script(main)
