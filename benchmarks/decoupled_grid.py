"""Decoupled distillation on CIFAR-10, IPC 10, at a size for two CPU cores: every method, every ingredient off once.

    python benchmarks/decoupled_grid.py run [--share 1/2] [--only NAME ...] [--threads 1] [--dry-run]
    python benchmarks/decoupled_grid.py teachers
    python benchmarks/decoupled_grid.py table

A committee of three narrow networks with batch norm, 10 epochs each of the recipe `short`, shared by all rows; methods
of one teacher have its ResNet-18. 1,000 steps on each image. Three evaluation seeds of `hard-narrow` and `soft-narrow`,
on a ConvNet of width 32 and a ResNet-10 of width 16, ablations by `soft-narrow` alone; two distillation seeds, one for
what has an ingredient off. The one order that is expected, CV-DD above its baseline SRe2L++ by `soft-narrow`, is a
family of tests of its own on each student; both start from the same images, those of medium loss by the ResNet-18.
Nobody has a home advantage: the students, the teacher of `soft-narrow` and the student that measures prior performance
are none of the networks that sets are made from.

Own labels stand in their own protocols, which train on them as they come: CV-DD's published ones (regions, steps of 16
in groups of 8 with batch statistics, CutMix) and those of SRe2L++, which are its one teacher's, by `cvdd-cifar10`,
INFER's fixed ones by `infer-static`, on the same two students. There random and RDED images have the very labels of the
method, by `condense relabel`, and each ingredient of CV-DD's labels is changed on the same images: equal votes, running
statistics, and one epoch repeated, since that protocol has no place for one label an image: its views, mixes and groups
are repeated with the labels.

How much the batch-norm term weighs follows from the depth of the teacher and from the start, so it is chosen first, on
held-out training images: `WEIGHTS` below, one number for the rows that start from real images (SRe2L++, CV-DD) and one
for those that start from noise (SRe2L, CDA). `run` refuses to begin unless the pilot's file holds all values that were
to be tried, and these as the best:

    for start in medium noise; do python benchmarks/pilot.py sre2l cifar10 --preset plus-plus-cifar \\
        --vary statistics_weight 0.01 0.1 1 --set initial=$start --recipe soft-narrow \\
        --set teacher=resnet18:norm=batch,width=16 --set teacher_recipe=short --set teacher_epochs=10 \\
        --set steps=1000 --set labels=teacher --set label_statistics=running --threads 1 \\
        --out results/benchmarks/pilot.json; done

`run` trains the committee, goes on only if each member is right for 77 % of the held-out tenth of the training images,
prints the commands and hands them to `condense`, which finds finished work again: killed and started anew, it goes on.
`--share 1/2` and `--share 2/2` are two processes that divide the sets; teachers are shared under locks. Labels of a set
that the other process has not made yet are named and wait for the next start. Run it from a checkout that stays as it
is, since a request names the code of its method.

`table` prints accuracies, the paired differences by the rule of the leaderboard, the means of each distillation seed,
CV-DD's prior performances and votes, and what each set takes on disk. `teachers` prints the committee's accuracy on
held-out and on test images and writes it to results/benchmarks/decoupled-teachers.json; nothing is chosen by the
latter. Distillation seeds share the teachers, so their spread leaves out the luck of a teacher; they share its prior
performance, which is one draw, too. Ablations of CV-DD's start and batch-norm term vote as the whole method does, by
its priors. `infer-static` trains for a number of passes, so INFER's 280 views make 2,000 updates there and 100 plain
images with its labels 800.

What the size changes of the published settings: a quarter of CV-DD's and SRe2L++'s steps; crops and flips for SRe2L,
so that CDA differs from it by the schedule alone; one ResNet-18 for RDED; the same kind of labels for all but RDED and
INFER. No set makes more than 1,000 updates of the common judging, so INFER's 280 views are trained on for as long as
the others' 100 images; its own protocol passes over all of them 400 times. INFER's dynamic labels are left out.

Core-hours by arithmetic, at 60 GFLOP/s for a thread of an AMD EPYC (55 to 80 on narrow convolutions): the pilots 1.4,
committee 1.1, the protocol's teacher 0.4, 14 sets 1.1, judging them 3.0, 7 sets of ablations 0.7, judging them 0.9,
own labels 0.3, own protocols 1.7; together 10.6.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from decoupled_table import table
from grid_runs import call, changes, unchosen
from processes import machine_facts, print_result, run_as_script

from condense import allocator

DATASET, IPC = "cifar10", 10
PROTOCOLS, EVALUATIONS = ("soft-narrow", "hard-narrow"), 3
CVDD, INFER = "cvdd-cifar10", "infer-static"  # protocols that train on the labels of a set
STUDENTS = ("convnet-d3:width=32", "resnet10:norm=batch,width=16")  # of these: the panel of the common ones
ROOT = Path("runs/decoupled-grid")
RESULTS = ROOT / "results"
GATE = 0.77  # of the held-out images, for each teacher

TEACHER = "resnet18:norm=batch,width=16"
COMMITTEE = f"{TEACHER}+convnet-d3:norm=batch,width=64+vgg11:norm=batch,width=32"
PRIOR_STUDENT = "convnet-d3:norm=batch,width=32"
TRAINING, EPOCHS = "short", 10
# r, by the start: what the pilots found best of these, the smallest where several are; 0.01 is the published one.
TRIED = (0.01, 0.1, 1.0)
WEIGHTS = {"medium": 0.1, "noise": 0.1}
PILOT = Path("results/benchmarks/pilot.json")
ACCURACIES = Path("results/benchmarks/decoupled-teachers.json")

TRAINED = {"teacher_recipe": TRAINING, "teacher_epochs": EPOCHS}
LABELS: dict[str, Any] = {
    "labels": "regions",
    "label_batch": 16,
    "label_statistics": "batch",
    "label_mix": "cutmix",
    "label_group": 8,
    "temperature": 20.0,
}
RECOVERY = {"steps": 1000, "statistics_weight": WEIGHTS["medium"], "smallest_crop": 0.08, "flip": True}
ONE: dict[str, Any] = {"teacher": TEACHER, **TRAINED, **RECOVERY, **LABELS}
FROM_NOISE: dict[str, Any] = {**ONE, "statistics_weight": WEIGHTS["noise"]}
MANY: dict[str, Any] = {
    "committee": COMMITTEE,
    **TRAINED,
    **RECOVERY,
    **LABELS,
    "prior_steps": 1000,
    "prior_student": PRIOR_STUDENT,
}
SHARED: dict[str, Any] = {"teachers": COMMITTEE, **TRAINED}

OFF: dict[str, dict[str, Any]] = {
    "cvdd": {"members": 1, "voting": "equal", "initial": "noise", "statistics_weight": 0.0},
    "infer": {"compensate": False, "statistics_weight": 0.0, "roll_to": 0},
}
# Ablations by which the priors would be measured anew, so that the votes would change beside them.
REMEASURED = {"cvdd-without-initial", "cvdd-without-statistics_weight"}
# Fields of CV-DD's label recipe with one ingredient changed; None is the default of the recipe.
CHANGED: dict[str, dict[str, Any]] = {
    "equal-votes": {"weights": None},
    "running-statistics": {"statistics": None},
    "one-epoch-of-views": {"epochs": 1},
}


@dataclass(frozen=True)
class Row:
    """Images of a method with its settings; or the images of another row with the labels of a third one."""

    name: str
    method: str = ""
    preset: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    against: tuple[str, ...] = ()  # rows that it is compared with
    protocols: tuple[str, ...] = PROTOCOLS
    seeds: int = 2  # distillation seeds
    images: str | None = None  # the row whose images are labelled anew
    labels: str = ""  # the row whose label recipe is taken
    changed: dict[str, Any] = field(default_factory=dict)  # fields of that recipe
    priors: str = ""  # the row whose measured prior performances are stated

    def folder(self, seed: int) -> Path:
        return ROOT / "sets" / f"{self.name}-s{seed}"


def rows() -> Iterator[Row]:
    """All rows, those whose images or labels others take first."""
    observer = {"observer": TEACHER, "training": TRAINING, "training_epochs": EPOCHS}
    always = ("random", "rded")
    images = ("sre2l-plus-plus", *always)
    beside = (*always, *(f"{name}-labels-sre2l-plus-plus" for name in always))
    yield Row("random", "random")
    yield Row("rded", "rded", "cifar", observer, ("random",))
    yield Row("sre2l-with-crops", "sre2l", "released-cifar", FROM_NOISE, always)
    yield Row("cda", "cda", "cifar", {**FROM_NOISE, "curriculum": "cosine"}, ("sre2l-with-crops", *always))
    yield Row("sre2l-plus-plus", "sre2l", "plus-plus-cifar", ONE, beside, (*PROTOCOLS, CVDD))
    beside = (*images, *(f"{name}-labels-cvdd" for name in images))
    yield Row("cvdd", "cvdd", "table-1-cifar", MANY, beside, (*PROTOCOLS, CVDD))
    beside = (*always, "rded-labels-infer", "random-labels-infer")
    yield Row("infer", "infer", "released-cifar", SHARED, beside, (*PROTOCOLS, INFER))
    for method, base, preset in (("cvdd", MANY, "table-1-cifar"), ("infer", SHARED, "released-cifar")):
        for ingredient, value in OFF[method].items():
            name = f"{method}-without-{ingredient}"
            votes = method if name in REMEASURED else ""
            yield Row(name, method, preset, {**base, ingredient: value}, (method,), PROTOCOLS[:1], 1, priors=votes)
    for method, protocol in (("cvdd", CVDD), ("sre2l-plus-plus", CVDD), ("infer", INFER)):
        for images in ("random", "rded", *(["sre2l-plus-plus"] if method == "cvdd" else [])):
            name, against = f"{images}-labels-{method}", () if images == "random" else (f"random-labels-{method}",)
            yield Row(name, against=against, protocols=(protocol,), images=images, labels=method)
    for name, changed in CHANGED.items():
        yield Row(f"cvdd-{name}", "", None, {}, ("cvdd",), (CVDD,), 1, images="cvdd", labels="cvdd", changed=changed)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("action", choices=("run", "teachers", "table"))
    options.add_argument("--results", type=Path, default=RESULTS)
    options.add_argument("--share", default="1/1", metavar="I/N", help="of N processes, this is number I")
    options.add_argument("--only", nargs="+", metavar="NAME", help="rows by name, such as cda or infer-without-roll_to")
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
        networks = dict.fromkeys((*PROTOCOLS, CVDD, INFER), STUDENTS)
        return table(chosen, known, networks, given.results, {PROTOCOLS[0]: ("cvdd", "sre2l-plus-plus")})
    if given.action == "teachers":
        return teachers(number, of, tested=True)
    if not given.dry_run and (lacking := unpiloted()):
        options.error(f"{PILOT}: {'; '.join(lacking)}: run the pilots, and set WEIGHTS by what they find")
    if not given.dry_run and any(row.fields for row in chosen) and teachers(number, of, tested=False):
        return 1
    failed = 0
    made = [row for row in chosen if row.images is None][number - 1 :: of]
    labelled = [row for row in chosen if row.images is not None][number - 1 :: of]
    for row in [*made, *labelled]:
        for seed in range(row.seeds):
            failed += not finish(row, seed, given.results, given.threads, given.dry_run)
    return 1 if failed else 0


def teachers(number: int, of: int, *, tested: bool) -> int:
    """Trains the committee, its members divided among processes, and prints how good they are; 1 below the gate.

    tested: on the test images too; then the accuracies are written to a file.
    """
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
    found = {teacher.name: {"held out": teacher.accuracy} for teacher in committee}
    for teacher in committee if tested else ():
        found[teacher.name]["test"] = accuracy(teacher.module(), SplitSource(source.test, space))
    for name, values in found.items():
        print(f"{name}: " + ", ".join(f"{where} {value:.2%}" for where, value in values.items()), flush=True)
    if tested:
        print_result({"recipe": TRAINING, "epochs": EPOCHS, "machine": machine_facts(), "accuracy": found}, ACCURACIES)
    if min(teacher.accuracy for teacher in committee) >= GATE:
        return 0
    print(f"a teacher is right for less than {GATE:.0%} of the held-out images; widen it or train it for longer")
    return 1


def unpiloted() -> list[str]:
    """Why a weight is not what the pilot of its start found best, for each start where that is so."""
    words = ["sre2l", DATASET, "plus-plus-cifar", f"recipe={PROTOCOLS[0]}", f"steps={RECOVERY['steps']}"]
    words += [f"{name}={value}" for name, value in {"teacher": TEACHER, **TRAINED}.items()]
    chosen = {f"ipc={IPC} initial={start}": weight for start, weight in WEIGHTS.items()}
    return unchosen(PILOT, words, "statistics_weight", chosen, TRIED)


def finish(row: Row, seed: int, results: Path, threads: int, dry_run: bool) -> bool:
    """Makes one set and judges it; whether that succeeded."""
    by_name = {other.name: other for other in rows()}
    sources = [by_name[name].folder(seed) for name in (row.images, row.labels, row.priors) if name]
    if not dry_run and (missing := [str(folder) for folder in sources if not folder.is_dir()]):
        print(f"{row.name}, seed {seed}: {' and '.join(missing)} not there yet; start again when made", flush=True)
        return False
    if row.images is not None and not dry_run:
        write_recipe(row, seed, by_name[row.labels].folder(seed))
    if row.priors and not dry_run:
        row = replace(row, fields={**row.fields, "priors": measured_priors(by_name[row.priors].folder(seed))})
    return all(call(command, dry_run) for command in commands(row, seed, results, threads))


def measured_priors(source: Path) -> str:
    """The prior performances that a saved set was made by, as the setting `priors` takes them."""
    from condense import distilled

    return "+".join(repr(float(value)) for value in distilled.load(source).provenance["priors"])


def recipe_file(row: Row, seed: int) -> Path:
    return ROOT / "recipes" / f"{row.name}-s{seed}.json"


def write_recipe(row: Row, seed: int, source: Path) -> None:
    """The label recipe of a saved set with the changes of a row."""
    from condense import distilled, files

    recipe = {**distilled.load(source).provenance["label_recipe"], **row.changed}
    path = recipe_file(row, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, {name: value for name, value in recipe.items() if value is not None})


def commands(row: Row, seed: int, results: Path, threads: int) -> list[list[str]]:
    """Make one set and judge it."""
    folder, using = str(row.folder(seed)), ["--threads", str(threads)]
    if row.images is None:
        preset = [] if row.preset is None else ["--preset", row.preset]
        budget = ["--dataset", DATASET, "--ipc", str(IPC), "--seed", str(seed), *using]
        making = ["distill", row.method, *budget, *preset, *changes(row.fields), "--out", folder]
    else:
        images = str(ROOT / "sets" / f"{row.images}-s{seed}")
        making = ["relabel", images, "--labels", str(recipe_file(row, seed)), *using, "--out", folder]
    judging = ["--networks", *STUDENTS, "--seeds", str(EVALUATIONS), *using, "--results", str(results)]
    return [making, *(["evaluate", folder, "--protocol", protocol, *judging] for protocol in row.protocols)]


if __name__ == "__main__":
    run_as_script(main)
