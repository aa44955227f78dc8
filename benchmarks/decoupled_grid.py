"""Decoupled distillation on CIFAR-10, IPC 10, at a size for two CPU cores: every method, every ingredient off once.

    python benchmarks/decoupled_grid.py run [--share 1/2] [--only NAME ...] [--seeds 2] [--threads 1] [--dry-run]
    python benchmarks/decoupled_grid.py teachers
    python benchmarks/decoupled_grid.py table

A committee of three narrow networks with batch norm, 20 epochs each of the recipe `short`, shared by all rows; methods
of one teacher have its ResNet-10. 1,000 steps on each image. Two distillation and three evaluation seeds of
`hard-narrow` and `soft-narrow`, on a ConvNet of width 32 and a ResNet-10 of width 16; ablations by `soft-narrow` alone.
`run` trains the committee, goes on only if each member is right for 77 % of the held-out tenth of the training images,
prints the commands and hands them to `condense`, which finds finished work again: killed and started anew, it goes on.
`--share 1/2` and `--share 2/2` are two processes that divide the sets; teachers are shared under locks. Run it from a
checkout that stays as it is, since a request names the code of its method.

`table` prints accuracies and paired differences with their intervals over runs, the means of each distillation seed,
and what each set takes on disk. `teachers` prints the committee's accuracy on held-out and on test images; nothing is
chosen by the latter. Distillation seeds share the teachers, so their spread leaves out the luck of a teacher. Where
CV-DD starts from noise or has no batch-norm term, its votes are measured so too.

What the size changes of the published settings: a quarter of CV-DD's and SRe2L++'s steps; labels of one teacher or
committee with running statistics for steps of 50, which the common protocols discard in any case, as they do the label
ingredients; crops and flips for SRe2L, so that CDA differs from it by the schedule alone; one ResNet-10 for RDED. No
set makes more than 1,000 updates of judging, so INFER's 280 views are trained on for as long as the others' 100 images.

Core-hours by arithmetic, at 80 GFLOP/s for two threads (narrow convolutions): committee 2.6, the protocol's teacher
0.7, 14 sets 2.0, judging them 4.3, 14 sets of ablations 2.0, judging them 1.9.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grid_runs import Outcomes, Runs, call, changes

from condense import allocator

DATASET, IPC = "cifar10", 10
PROTOCOLS, EVALUATIONS = ("soft-narrow", "hard-narrow"), 3
ROOT = Path("runs/decoupled-grid")
RESULTS = ROOT / "results"
GATE = 0.77  # of the held-out images, for each teacher

TEACHER = "resnet10:norm=batch,width=16"
COMMITTEE = f"convnet-d3:norm=batch,width=64+{TEACHER}+vgg11:norm=batch,width=32"
TRAINING, EPOCHS = "short", 20

TRAINED = {"teacher_recipe": TRAINING, "teacher_epochs": EPOCHS}
LABELS: dict[str, Any] = {
    "labels": "regions",
    "label_batch": 50,
    "label_statistics": "running",
    "label_mix": "cutmix",
    "label_group": None,
    "temperature": 20.0,
}
CROPS = {"smallest_crop": 0.08, "flip": True}
ONE: dict[str, Any] = {"teacher": TEACHER, **TRAINED, **CROPS, **LABELS, "steps": 1000}
MANY: dict[str, Any] = {
    "committee": COMMITTEE,
    **TRAINED,
    **LABELS,
    "steps": 1000,
    "prior_steps": 1000,
    "prior_student": TEACHER,
}
SHARED: dict[str, Any] = {"teachers": COMMITTEE, **TRAINED}

OFF: dict[str, dict[str, Any]] = {
    "cvdd": {"members": 1, "voting": "equal", "initial": "noise", "statistics_weight": 0.0},
    "infer": {"compensate": False, "statistics_weight": 0.0, "roll_to": 0},
}


@dataclass(frozen=True)
class Row:
    """A method with its settings."""

    name: str
    method: str
    preset: str | None
    against: str | None  # the row that it is compared with
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def protocols(self) -> tuple[str, ...]:
        """An ablation is compared with its method alone, under the protocol that these methods are made for."""
        return PROTOCOLS[:1] if "-without-" in self.name else PROTOCOLS

    def folder(self, seed: int) -> Path:
        return ROOT / "sets" / f"{self.name}-s{seed}"


def rows() -> Iterator[Row]:
    """All rows, those that others are compared with first."""
    observer = {"observer": TEACHER, "training": TRAINING, "training_epochs": EPOCHS}
    yield Row("random", "random", None, None)
    yield Row("rded", "rded", "cifar", "random", observer)
    yield Row("sre2l", "sre2l", "released-cifar", "random", ONE)
    yield Row("cda", "cda", "cifar", "sre2l", {**ONE, "curriculum": "cosine"})
    yield Row("sre2l-plus-plus", "sre2l", "plus-plus-cifar", "random", ONE)
    yield Row("cvdd", "cvdd", "table-1-cifar", "sre2l-plus-plus", MANY)
    yield Row("infer", "infer", "released-cifar", "random", SHARED)
    for method, base, preset in (("cvdd", MANY, "table-1-cifar"), ("infer", SHARED, "released-cifar")):
        for ingredient, value in OFF[method].items():
            yield Row(f"{method}-without-{ingredient}", method, preset, method, {**base, ingredient: value})


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("action", choices=("run", "teachers", "table"))
    options.add_argument("--results", type=Path, default=RESULTS)
    options.add_argument("--share", default="1/1", metavar="I/N", help="of N processes, this is number I")
    options.add_argument("--only", nargs="+", metavar="NAME", help="rows by name, such as cda or infer-without-roll_to")
    options.add_argument("--seeds", type=int, default=2, help="distillation seeds")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--dry-run", action="store_true", help="print the commands and do nothing")
    given = options.parse_args()
    known = list(rows())
    if unknown := set(given.only or ()) - {row.name for row in known}:
        options.error(f"no row is called {', '.join(sorted(unknown))}; --dry-run prints all")
    chosen = [row for row in known if given.only is None or row.name in given.only]
    number, of = map(int, given.share.split("/"))
    allocator.prepare(given.threads)
    if given.action == "table":
        return table(chosen, given.seeds, given.results)
    if given.action == "teachers":
        return teachers(number, of, tested=True)
    if not given.dry_run and any(row.fields for row in chosen) and teachers(number, of, tested=False):
        return 1
    failed = 0
    for row in chosen[number - 1 :: of]:
        for seed in range(given.seeds):
            steps = commands(row, seed, given.results, given.threads)
            failed += not all(call(command, given.dry_run) for command in steps)
    return 1 if failed else 0


def teachers(number: int, of: int, *, tested: bool) -> int:
    """Trains the committee, its members divided among processes, and prints how good they are; 1 below the gate."""
    from condense import preprocessing
    from condense import teachers as wise
    from condense.api import Place
    from condense.progress import Progress
    from condense.run import Run
    from condense.training import SplitSource, accuracy

    place = Place(progress=Progress())
    source = place.dataset(DATASET)
    space = preprocessing.fit("normalise", source.train)
    recipe = wise.recipe(TRAINING, flips=source.train.flips, epochs=EPOCHS)
    names = wise.members(COMMITTEE)
    with Run(ROOT / f"teachers-{number}", seed=0, **place.options()) as run:
        for name in names[number - 1 :: of]:  # the own share first: the others are trained meanwhile
            wise.teacher(name, source.train, space, recipe, run)
        committee = wise.committee(COMMITTEE, source.train, space, recipe, run)
    for teacher in committee:
        test = f", test {accuracy(teacher.module(), SplitSource(source.test, space)):.2%}" if tested else ""
        print(f"{teacher.name}: held out {teacher.accuracy:.2%}{test}", flush=True)
    if min(teacher.accuracy for teacher in committee) >= GATE:
        return 0
    print(f"a teacher is right for less than {GATE:.0%} of the held-out images; widen it or train it for longer")
    return 1


def commands(row: Row, seed: int, results: Path, threads: int) -> list[list[str]]:
    """Distil one set and judge it."""
    folder = str(row.folder(seed))
    preset = [] if row.preset is None else ["--preset", row.preset]
    budget = ["--dataset", DATASET, "--ipc", str(IPC), "--seed", str(seed), "--threads", str(threads)]
    judging = ["--seeds", str(EVALUATIONS), "--threads", str(threads), "--results", str(results)]
    return [
        ["distill", row.method, *budget, *preset, *changes(row.fields), "--out", folder],
        *(["evaluate", folder, "--protocol", protocol, *judging] for protocol in row.protocols),
    ]


def table(chosen: list[Row], seeds: int, results: Path) -> int:
    """Prints the accuracies for each protocol and network, as far as they are there, and the bytes of the sets."""
    from condense.evaluate import protocols

    outcomes = Outcomes(results)
    folders = {row.name: [row.folder(seed) for seed in range(seeds)] for row in rows()}
    for protocol in map(protocols.load, PROTOCOLS):
        for network in protocol.networks((3, 32, 32)):
            found = {name: outcomes.accuracies(sets, protocol.name, network) for name, sets in folders.items()}
            print(f"\n{protocol.name}, {network}\n")
            print("| row | accuracy (95 %) | by set | runs | against | paired difference (95 %) | by set |")
            print("|---|---|---|---|---|---|---|")
            for row in chosen:
                if found[row.name]:
                    print(line(row, found))
    print("\n| row | images stored | stands for | bytes of images | of labels | of extras | together |")
    print("|---|---|---|---|---|---|---|")
    for row in chosen:
        if row.folder(0).is_dir():
            print(bill(row))
    return 0


def line(row: Row, found: dict[str, Runs]) -> str:
    """One row: its mean and that of each set, and how it stands to the row it is compared with."""
    from condense.evaluate.statistics import by_set, compare, summary

    values = found[row.name]
    whole = summary(list(values.values()))
    means = " ".join(f"{100 * mean:.2f}" for mean in by_set(values).values())
    gap = compare(values, found[row.against]) if row.against else None
    difference = "|" if gap is None else f"{interval(gap.over_runs)} | {points(gap.by_set)}"
    return f"| {row.name} | {interval(whole)} | {means} | {whole.n} | {row.against or ''} | {difference} |"


def interval(value: Any) -> str:
    """Mean and half of the interval, in points."""
    return f"{100 * value.mean:.2f}" + ("" if value.half is None else f" ± {100 * value.half:.2f}")


def points(gaps: Any) -> str:
    """The mean difference of each distillation seed, in points."""
    return " ".join(f"{100 * gap:+.2f}" for gap in gaps.values())


def bill(row: Row) -> str:
    """What a set takes, with its own labels."""
    from condense import distilled

    made = distilled.load(row.folder(0))
    parts = made.bytes()
    numbers = (len(made), len(made.view()), parts.images, parts.labels, parts.extras, parts.total)
    return f"| {row.name} | " + " | ".join(f"{number:,}" for number in numbers) + " |"


if __name__ == "__main__":
    sys.exit(main())
