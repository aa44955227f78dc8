"""The three verbs: distil a set, load one, score one. The command line is a thin layer over these.

This is the one module, besides the command line, that sees methods and judge at once. It hands a method the training
split and nothing else, and it hands the judge a loaded set without its provenance.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from condense import data, distilled, files, machine
from condense import methods as registry
from condense.budget import Budget
from condense.data import Dataset
from condense.distilled import DistilledSet
from condense.errors import BadInput, Diverged, UnknownName
from condense.evaluate import judge as judging
from condense.evaluate import protocols, records, validator
from condense.identity import digest
from condense.method import Plugin, with_overrides
from condense.progress import NoProgress, Progress
from condense.run import Run

SETS = Path("runs/sets")
WORK = Path("runs/work")
RESULTS = Path("runs/results")


@dataclass(frozen=True)
class Place:
    """Where a call reads data, keeps caches and computes. None means the default of each."""

    device: str = "cpu"
    data_dir: Path | None = None
    cache_dir: Path | None = None
    time_budget: float | None = None  # seconds of distillation, after which every phase ends
    checkpoint_seconds: float = 30.0
    compile: bool = False  # compile the networks of a method: 15 to 60 s once, then faster steps
    progress: Progress | NoProgress = field(default_factory=NoProgress)

    def dataset(self, name: str) -> Dataset:
        """The named data set with both splits on this device."""
        loaded = data.load(name, data_dir=self.data_dir, cache_dir=self.cache_dir)
        return dataclasses.replace(loaded, train=loaded.train.to(self.device), test=loaded.test.to(self.device))

    def options(self) -> dict[str, Any]:
        """What a `Run` takes from here."""
        return {
            "cache_dir": self.cache_dir,
            "device": self.device,
            "checkpoint_seconds": self.checkpoint_seconds,
            "compile": self.compile,
            "time_budget": self.time_budget,
            "progress": self.progress,
        }


def load(name: str | Path) -> DistilledSet:
    """Loads a distilled set by its folder, or by its name under `runs/sets`.

    Raises:
        UnknownName: offering the nearest sets there.
        DamagedFile: naming the file whose hash is not the recorded one.
    """
    return distilled.load(set_folder(name))


def sets() -> list[str]:
    """Names of the distilled sets under `runs/sets`."""
    return sorted(path.parent.name for path in SETS.glob("*/set.json"))


def distill(
    method: str,
    dataset: str,
    *,
    budget: Budget | None = None,
    ipc: int | None = None,
    seed: int = 0,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: Path | None = None,
    place: Place | None = None,
) -> Path:
    """Distils `dataset` with `method` and returns the folder of the saved set.

    The same request finds its finished set again, or continues an interrupted run where it stopped. The test split
    never reaches the method: it is given the training split, without labels when it declares that it uses none.

    Args:
        method: a name from `condense list methods`, or a path to a Python file.
        budget, ipc: how large the set may be; one of the two.
        preset: a named configuration; None is the paper's main setting.
        overrides: configuration fields to change.
        out: folder to write; the default is `runs/sets/<dataset>-<method>-<budget>-s<seed>-<request>`.

    Raises:
        BadInput: for anything in the request that cannot be done.
        Diverged: when the method leaves the finite numbers.
    """
    place = place or Place()
    size = budget or Budget(ipc=ipc)
    plugin = registry.get(method)
    config = with_overrides(plugin.name, plugin.config(preset), overrides or {})
    source = place.dataset(dataset)
    size.counts(source.train.class_counts(), source.classes)
    request = _request(plugin, config, size, source, seed, place)
    name = f"{files.safe_name(source.name)}-{plugin.name}-{size}-s{seed}-{digest(request)[:8]}"
    target = Path(out) if out is not None else SETS / name
    if _is_finished(target, digest(request)):
        return target

    work = WORK / name
    _announce(plugin, source, size, config, place)
    with machine.PeakMemory(place.device) as peak:
        result, seconds = _run_method(plugin, config, size, source, seed, work, place, request)
    provenance = {
        **result.provenance,  # the configuration that was resolved, and phases that ended early
        "method": plugin.name,
        "title": plugin.about.title,
        "kind": plugin.about.kind,
        "preset": preset,
        "seed": seed,
        "budget": size.spec(),
        "dataset": {"name": source.name, "fingerprint": source.fingerprint},
        "trained_on": "train",
        "engine": request["engine"],
        "request": digest(request),
        "volatile": {
            "seconds": seconds,
            "peak_bytes": peak.bytes,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": machine.describe(place.device),
        },
    }
    distilled.save(dataclasses.replace(result, provenance=provenance), target)
    files.discard(work)
    return target


def _is_finished(target: Path, request: str) -> bool:
    """Whether the set asked for stands in its folder already; refuses a place that holds anything else."""
    if (target / "set.json").is_file() and distilled.load(target).provenance.get("request") == request:
        return True
    standing = next(place for place in (target, *target.absolute().parents) if place.exists())
    if not standing.is_dir():
        raise BadInput(f"{standing} is a file where a folder should be; choose another --out")
    if standing == target and any(target.iterdir()):
        raise BadInput(f"{target} exists and holds something else; choose another --out or remove it")
    return False


def _run_method(
    plugin: Plugin,
    config: Any,
    budget: Budget,
    source: Dataset,
    seed: int,
    work: Path,
    place: Place,
    request: Mapping[str, Any],
) -> tuple[DistilledSet, float]:
    """Chooses on held-out training data where the method declares a choice, then distils on all of train."""
    train = source.train if plugin.about.uses_labels else source.train.unlabelled()
    seconds = 0.0
    if plugin.choose is not None:
        kept, held = data.validation_split(source.train)
        check = validator.make_validator(held, device=place.device)
        with Run(work / "choose", seed=seed, request=request, validator=check, **place.options()) as chooser:
            config = plugin.choose(kept if plugin.about.uses_labels else kept.unlabelled(), budget, config, chooser)
            seconds += chooser.elapsed
    with Run(work / "distill", seed=seed, request=request, **place.options()) as run:
        result = plugin.distill(train, budget, config, run)
        seconds += run.elapsed
        provenance = {"config": dataclasses.asdict(config), "stops": dict(run.stops)}
    return dataclasses.replace(result, provenance=provenance), seconds


def score(
    name: str | Path,
    protocol: str = "quick",
    *,
    networks: Sequence[str] | None = None,
    seeds: int | None = None,
    dataset: str | None = None,
    results: Path = RESULTS,
    command: str | None = None,
    place: Place | None = None,
) -> Path:
    """Judges a saved set under a protocol and returns its record; networks and seeds that are there are not repeated.

    Args:
        name: a set's folder, or its name under `runs/sets`. The judge is given what is on disk, so that the rounding
            of storage is part of the result.
        networks, seeds: a part of the protocol's panel, another number of seeds; None is the protocol's own.
        dataset: where the set's data set is found, when its recorded name does not say (own data in another folder).
        command: the command line to record; None records this process's own.

    Raises:
        BadInput: when the data set is not the one that the set was made from.
    """
    place = place or Place()
    judged = load(name)
    made = judged.provenance
    if not {"dataset", "budget", "method"} <= set(made):
        raise BadInput(f"{name} does not record its data set, budget and method; import it again with --dataset")
    source = place.dataset(dataset or made["dataset"]["name"])
    if source.fingerprint != made["dataset"]["fingerprint"]:
        raise BadInput(
            f"{name} was made from data with fingerprint {made['dataset']['fingerprint'][:12]}, "
            f"{source.name} has {source.fingerprint[:12]}; give the data set it was made from with --dataset"
        )
    rules = protocols.load(protocol)
    record = functools.partial(
        records.compose,
        protocol=rules.reference(),
        dataset=records.DatasetRef(name=source.name, fingerprint=source.fingerprint),
        budget=Budget(**made["budget"]),
        judged=_set_reference(judged),
        command=command or shlex.join(["condense", *sys.argv[1:]]),
        distill=records.DistillCost(**costs) if (costs := _distill_cost(made)) else None,
    )
    path = records.path_of(results, record(cells={}))
    known = records.read(path) if path.exists() else None
    work = WORK / f"judge-{judged.id[:16]}-{rules.digest[:16]}"
    with Run(work, seed=0, request={"set": judged.id, "protocol": rules.digest}, **place.options()) as run:
        for network, cell in judging.judge(
            judged.bind(source.train).training_view(),
            source,
            rules,
            networks=networks,
            seeds=None if seeds is None else range(seeds),
            done=records.done(known),
            run=run,
            device=place.device,
        ):
            # Written after every seed, so that an interrupted call loses at most one.
            records.merge(results, record(cells={network: cell}))
    files.discard(work)
    return path


@dataclass
class BenchReport:
    """What a benchmark call left: the records of every set, and in words what could not be done."""

    records: list[Path] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def bench(
    dataset: str,
    budgets: Sequence[Budget],
    *,
    methods: Sequence[str] | None = None,
    preset: str | None = "cpu",
    protocol: str = "quick",
    networks: Sequence[str] | None = None,
    seeds: int | None = None,
    distill_seeds: int = 1,
    results: Path = RESULTS,
    command: str | None = None,
    place: Place | None = None,
) -> BenchReport:
    """Distils and judges with many methods; finished work is found again, a failure does not stop the others.

    Args:
        methods: None is every built-in method.
        preset: the configuration of every method; None is each paper's main setting.
        distill_seeds: sets of each method, with seeds 0, 1, ...
    """
    place = place or Place()
    report = BenchReport()
    names = list(methods) if methods is not None else registry.built_in()
    for name in names:
        registry.get(name).config(preset)  # a misspelt name is told before hours were spent on the others
    rules = protocols.load(protocol)
    for budget, name, seed in itertools.product(budgets, names, range(distill_seeds)):
        place.progress.say(f"{name}, {budget}, seed {seed}")
        try:
            folder = distill(name, dataset, budget=budget, seed=seed, preset=preset, place=place)
        except Diverged as error:
            report.failures.append(f"{name}, {budget}, seed {seed}: {error}")
            continue
        record = score(
            folder,
            rules.name,
            networks=networks,
            seeds=seeds,
            dataset=dataset,
            results=results,
            command=command,
            place=place,
        )
        report.records.append(record)
        failed = [network for network, cell in records.read(record).cells.items() if cell.status == "failed"]
        report.failures += [f"{name}, {budget}, seed {seed}: {network} (see {record})" for network in failed]
    return report


def set_folder(name: str | Path) -> Path:
    """The folder of a set, given itself or by its name under `runs/sets`; raises as `load`."""
    for folder in (Path(name), SETS / name):
        if (folder / "set.json").is_file():
            return folder
    if Path(name).exists():
        raise BadInput(f"{name} is not a distilled set: it has no set.json; `condense import` reads other layouts")
    raise UnknownName("distilled set", str(name), sets())


def _request(plugin: Plugin, config: Any, budget: Budget, source: Dataset, seed: int, place: Place) -> dict[str, Any]:
    """Everything that decides the content of the set; equal requests find each other's work."""
    return {
        "method": plugin.name,
        "code": files.sha256(plugin.module.__file__ or ""),
        "config": dataclasses.asdict(config),
        "budget": budget.spec(),
        "dataset": source.fingerprint,
        "seed": seed,
        "engine": {**machine.engine(place.device), "compile": place.compile},
        "time_budget": place.time_budget,
    }


def _announce(plugin: Plugin, source: Dataset, budget: Budget, config: Any, place: Place) -> None:
    cost = plugin.cost(source.train, budget, config)
    seconds = cost.operations / machine.operations_per_second(place.device)
    place.progress.say(
        f"{plugin.about.title} on {source.name}, {budget}: at least {seconds:.0f} s, "
        f"about {cost.memory_bytes / 2**30:.1f} GiB of memory and {cost.disk_bytes / 2**30:.1f} GiB of disk"
    )


def _set_reference(judged: DistilledSet) -> records.SetRef:
    made = judged.provenance
    size = judged.bytes()
    return records.SetRef(
        id=judged.id,
        method=made["method"],
        title=made.get("title", made["method"]),
        kind=made.get("kind", "synthetic"),
        preset=made.get("preset"),
        config=made.get("config", {}),
        seed=made.get("seed", 0),
        trained_on=made.get("trained_on", "train"),
        preprocessing=judged.preprocessing.kind,
        labels=judged.labels.kind,
        count=len(judged),
        bytes=records.BytesRef(
            images=size.images, labels=size.labels, extras=size.extras, preprocessing=size.preprocessing
        ),
        engine=made.get("engine", {}),
        stops=made.get("stops", {}),
    )


def _distill_cost(made: Mapping[str, Any]) -> dict[str, Any] | None:
    volatile = made.get("volatile", {})
    return {name: volatile[name] for name in ("seconds", "peak_bytes")} if "seconds" in volatile else None
