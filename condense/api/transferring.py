"""Transfer: pre-train on saved sets, use the networks on other data, beside the baselines that every set must beat."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from condense import distilled, files
from condense import methods as registry
from condense.api import fingerprints
from condense.api.distilling import distill
from condense.api.place import RESULTS, WORK, Place, origin, set_folder
from condense.api.scoring import distill_cost, set_reference
from condense.budget import Budget
from condense.data import Dataset
from condense.distilled import DistilledSet
from condense.errors import BadInput
from condense.evaluate.parts import DatasetRef
from condense.evaluate.transfer import judge as judging
from condense.evaluate.transfer import protocol as protocols
from condense.evaluate.transfer import records
from condense.evaluate.transfer.protocol import TransferProtocol
from condense.evaluate.transfer.records import StartName, TransferRecord
from condense.evaluate.transfer.starts import FromSet, Scratch, SelfSupervised, Start
from condense.evaluate.transfer.tables import BASELINES
from condense.evaluate.transfer.targets import in_shape
from condense.evaluate.version import TRANSFER
from condense.identity import digest
from condense.run import Run


@dataclass
class TransferReport:
    """What a transfer left: the record of every start, and in words what failed."""

    records: list[Path] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Request:
    """What all starts of one call share."""

    targets: Sequence[str]
    protocol: TransferProtocol
    networks: Sequence[str] | None
    seeds: Sequence[int] | None
    results: Path
    command: str
    place: Place


def transfer(
    sets: Sequence[str | Path],
    targets: Sequence[str],
    protocol: str = "transfer-quick",
    *,
    networks: Sequence[str] | None = None,
    seeds: int | None = None,
    baselines: bool = True,
    references: bool = True,
    teacher: str | None = None,
    dataset: str | None = None,
    results: Path = RESULTS,
    command: str | None = None,
    place: Place | None = None,
) -> TransferReport:
    """Judges saved sets by what networks trained on them are worth on other data; finished numbers are not repeated.

    Args:
        sets: folders, or names under `runs/sets`; none judges the references of `dataset` alone.
        targets: data sets, with adapters; brought into the shape of each set's source.
        networks, seeds: a part of the protocol's panel, another number of seeds; None is the protocol's own.
        baselines: distil and judge, for each set with a teacher, random and k-means images with teacher features of
            the same source, budget, seed and teacher.
        references: judge fresh networks and self-supervision on all images of the source too.
        teacher: "NETWORK@FILE", where the sets' teacher lies if it came from a file: baselines have the very same, and
            sets know what a file holds, not its folder.
        dataset: where the sets' data lie, when their recorded name does not say; without sets, the source.

    Raises:
        UnknownName, BadInput, DamagedFile: for anything in the request that cannot be done, before hours were spent.
        Diverged: when a baseline's teacher leaves the finite numbers.
    """
    place = place or Place()
    rules = protocols.load(protocol)
    request = _Request(
        list(dict.fromkeys(targets)),
        rules,
        networks,
        None if seeds is None else range(seeds),
        Path(results),
        command or shlex.join(["condense", *sys.argv[1:]]),
        place,
    )
    loaded = [_load(name, dataset, request, teacher, baselines=baselines) for name in sets]
    _require_of_use(teacher, loaded)
    report = TransferReport()
    seen: set[str] = set()
    if references and not loaded and dataset is not None:
        _judge_references(place.dataset(dataset), request, report)
    for each in loaded:
        beside = [] if each.shared is None else _baselines(each.judged, each.shared, dataset, place)
        if references and each.source.fingerprint not in seen:
            seen.add(each.source.fingerprint)
            _judge_references(each.source, request, report)
        for judged in (*beside, each.judged):
            if judged.id not in seen:
                seen.add(judged.id)
                start = FromSet(judged.bind(each.source.train).training_view(), rules, each.source.flips)
                _judge(start, "set", judged, each.source, each.targets, request, report)
    return report


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A set with its source, the targets in the shape of that, and what its baselines have in common with it."""

    judged: DistilledSet
    source: Dataset
    targets: list[Dataset]
    shared: Mapping[str, Any] | None


def _load(name: str | Path, dataset: str | None, request: _Request, teacher: str | None, *, baselines: bool) -> _Loaded:
    judged = distilled.load(set_folder(name))
    source = origin(judged, name, dataset, request.place)
    shared = _shared_settings(judged, teacher, request.place) if baselines else None
    return _Loaded(judged, source, _open_targets(request, source), shared)


def _require_of_use(teacher: str | None, loaded: Sequence[_Loaded]) -> None:
    if teacher is not None and not any(each.shared and each.shared["teacher"] == teacher for each in loaded):
        raise BadInput(f"no baseline of these sets needs the teacher {teacher}; leave --teacher out")


def _open_targets(request: _Request, source: Dataset) -> list[Dataset]:
    return [in_shape(name, source.shape, request.place.dataset) for name in request.targets]


def _judge_references(source: Dataset, request: _Request, report: TransferReport) -> None:
    opened = _open_targets(request, source)
    _judge(Scratch(), "scratch", None, source, opened, request, report)
    everything = SelfSupervised(source.train, request.protocol)
    _judge(everything, "self-supervised", None, source, opened, request, report)


def _shared_settings(judged: DistilledSet, teacher: str | None, place: Place) -> dict[str, Any] | None:
    """The settings of its method that baselines have too, its teacher and its pixel space; None: it has no baselines.

    A set whose targets are no features of a teacher gives nothing to make them from.

    Raises:
        BadInput: when the teacher came from a file, and `teacher` is not where it lies.
    """
    made = judged.provenance
    if made["method"] in BASELINES:
        return None
    if judged.labels.kind != "representation" or "teacher" not in made["config"]:
        why = "is not known to learn from a teacher's features"
        place.progress.say(f"transfer: {made['title']} {why}, so no baselines are made for it")
        return None
    known = {entry.name for name in BASELINES for entry in dataclasses.fields(registry.get(name).config_type)}
    shared = {name: value for name, value in made["config"].items() if name in known}
    if fingerprints.names_a_file(shared["teacher"]):
        found = None if teacher is None else fingerprints.by_content(teacher)
        if found != shared["teacher"]:
            raise BadInput(
                f"the baselines of {made['title']} need its teacher {shared['teacher']}, and "
                f"{'none was given' if found is None else f'{found} was given'}; name its file by --teacher "
                "NETWORK@FILE, or leave the baselines out by --no-baselines"
            )
        shared["teacher"] = teacher
    return shared


def _baselines(
    judged: DistilledSet, shared: Mapping[str, Any], dataset: str | None, place: Place
) -> list[DistilledSet]:
    """Random and k-means images with the features of the set's teacher: same source, budget and seed."""
    made = judged.provenance
    found = []
    for name in BASELINES:
        plugin = registry.get(name)
        own = {entry.name for entry in dataclasses.fields(plugin.config_type)} & shared.keys()
        folder = distill(
            name,
            dataset or made["dataset"]["name"],
            budget=Budget.from_spec(made["budget"]),
            seed=made["seed"],
            preset=made.get("preset") if made.get("preset") in plugin.presets else None,
            overrides={setting: shared[setting] for setting in sorted(own)},
            place=place,
        )
        found.append(distilled.load(folder))
    return found


def _judge(
    start: Start,
    kind: StartName,
    judged: DistilledSet | None,
    source: Dataset,
    targets: Sequence[Dataset],
    request: _Request,
    report: TransferReport,
) -> None:
    """Measures what one start lacks and merges each number into its record as it comes."""
    record = records.compose(
        protocol=request.protocol.reference(),
        source=DatasetRef(name=source.name, fingerprint=source.fingerprint),
        start=kind,
        judged=None if judged is None else set_reference(judged),
        budget=None if judged is None else Budget.from_spec(judged.provenance["budget"]),
        targets={target.name: target.fingerprint for target in targets},
        command=request.command,
        distill=None if judged is None else distill_cost(judged.provenance),
        device=request.place.device,
    )
    path = records.path_of(request.results, record)
    known: TransferRecord | None = records.standing(request.results, record)
    request.place.progress.say(f"transfer: {judged.provenance['title'] if judged else kind}, from {source.name}")
    with _judging(f"{kind}-{judged.id if judged else source.fingerprint}", request) as run:
        for place, cell in judging.transfer(
            start,
            source.shape,
            targets,
            request.protocol,
            run,
            networks=request.networks,
            seeds=request.seeds,
            done=set() if known is None else {(records.place_of(name), seed) for name, seed in known.done()},
        ):
            records.merge(request.results, record.with_cells({records.name_of(place): cell}))
            if cell.status == "failed":
                report.failures.append(f"{path}: {records.name_of(place)}: {cell.reason}")
    files.discard(run.directory)
    report.records.append(path)


def _judging(start: str, request: _Request) -> Run:
    """The run that holds what is begun of a transfer: another judge, or other code of it, does not go on with it.

    A budget of time is for distilling, and processes that share a distillation judge for themselves.
    """
    facts = {
        "start": start,
        "protocol": request.protocol.digest,
        "judge": TRANSFER,
        "code": fingerprints.code(judging),
    }
    options = {**request.place.options(), "time_budget": None, "shared": False}
    return Run(WORK / f"transfer-{digest(facts)[:16]}", seed=0, request=facts, **options)
