"""Distil: hand a method the training split and nothing else, and save what it returns."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from condense import data, distilled, files, machine, methods
from condense.api import fingerprints
from condense.api.place import SETS, WORK, Place, announcement, require_writable
from condense.budget import Budget
from condense.data import Dataset
from condense.distilled import DistilledSet
from condense.errors import BadInput
from condense.evaluate import validator
from condense.identity import digest
from condense.method import Plugin, with_overrides
from condense.run import Run


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

    The same request finds its finished set again, or continues an interrupted run where it stopped; the code that the
    method runs and the content of the files that it names are part of it. The test split never reaches the method: it
    is given the training split, without labels when it declares that it uses none.

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
    budget = budget or Budget(ipc=ipc)
    plugin = methods.get(method)
    config = with_overrides(plugin.name, plugin.config(preset), overrides or {})
    source = place.dataset(dataset)
    _require_possible(budget, plugin, source)
    request = _request(plugin, config, budget, source, seed, place)
    name = f"{files.safe_name(source.name)}-{plugin.name}-{budget}-s{seed}-{digest(request)[:8]}"
    target = Path(out) if out is not None else SETS / name
    work = WORK / name
    if is_finished(target, digest(request)):
        if not place.shared:
            files.discard(work)
        return target

    _announce(plugin, source, budget, config, place)
    with machine.PeakMemory(place.device) as peak, _empty_when_refused(work):
        result = _run_method(plugin, config, budget, source, seed, work, place, request)
    asked = {"preset": preset, "seed": seed, "budget": budget.spec(), "engine": request["engine"]}
    volatile = {
        "changed": _changed(plugin.config(preset), config),  # follows from the configuration: no identity
        "request": digest(request),  # finds this set again; equal content from changed code is the same set
        "peak_bytes": peak.bytes,
    }
    made = result.provenance  # what the method says of itself, the resolved configuration, phases that ended early
    volatile = {**made.get("volatile", {}), **volatile, **_surroundings(source, place)}
    provenance = {**made, **_facts(plugin, source), **asked, "volatile": volatile}
    _keep(dataclasses.replace(result, provenance=provenance), target, work, digest(request), place.shared)
    return target


def _require_possible(budget: Budget, plugin: Plugin, source: Dataset) -> None:
    """Refuses, with BadInput, a budget that the training split cannot fill."""
    if plugin.about.uses_labels:
        budget.counts(source.train.class_counts(), source.classes)
    else:
        budget.images(len(source.train), source.train.n_classes)


def _surroundings(source: Dataset, place: Place) -> dict[str, Any]:
    """What is said of a data set, no part of its content; when and where a set is made."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"licence": source.licence, "date": date, "host": machine.describe(place.device)}


def _keep(made: DistilledSet, target: Path, work: Path, request: str, shared: bool) -> None:
    """Saves a set, unless another process that shared its work was first, and clears that work away."""
    with files.lock(work / "saving"):
        if not is_finished(target, request):
            distilled.save(made, target)
    if not shared:  # otherwise somebody may still read it
        files.discard(work)


def _facts(plugin: Plugin, source: Dataset) -> dict[str, Any]:
    """What the provenance says of the method and of the data."""
    return {
        "method": plugin.name,
        "title": plugin.about.title,
        "kind": plugin.about.kind,
        "seeded": plugin.about.seeded,
        "dataset": {"name": source.name, "fingerprint": source.fingerprint},
        "trained_on": "train",
    }


def _changed(preset: Any, config: Any) -> list[str]:
    """Names of the fields in which a configuration is not the preset's."""
    names = (entry.name for entry in dataclasses.fields(preset))
    return sorted(name for name in names if getattr(config, name) != getattr(preset, name))


@contextlib.contextmanager
def _empty_when_refused(work: Path) -> Iterator[None]:
    """Removes the folder around runs that were refused; they took what was in them away themselves."""
    try:
        yield
    except BadInput:
        with contextlib.suppress(OSError):
            work.rmdir()
        raise


def is_finished(target: Path, request: str) -> bool:
    """Whether the set asked for stands in its folder already; refuses a place that holds anything else."""
    made = distilled.load(target).provenance if (target / "set.json").is_file() else {}
    if made.get("volatile", {}).get("request") == request:
        return True
    standing = require_writable(target, "--out")
    if standing == target and any(target.iterdir()):
        held = "a set that was made otherwise: by other settings, files or code" if made else "something else"
        raise BadInput(f"{target} exists and holds {held}; choose another --out or remove it")
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
) -> DistilledSet:
    """Chooses on held-out training data where the method declares a choice, then distils on all of train."""
    train = source.train if plugin.about.uses_labels else source.train.unlabelled()
    seconds, shared = 0.0, {}
    if plugin.choose is not None:
        kept, held = data.validation_split(source.train)
        check = validator.make_validator(held, device=place.device)
        with Run(work / "choose", seed=seed, request=request, validator=check, **place.options()) as chooser:
            config = plugin.choose(kept if plugin.about.uses_labels else kept.unlabelled(), budget, config, chooser)
            seconds, shared = chooser.own_seconds, chooser.shared_seconds
    with Run(work / "distill", seed=seed, request=request, **place.options()) as run:
        result = plugin.distill(train, budget, config, run)
        if not isinstance(result, DistilledSet):
            raise BadInput(f"{plugin.name}.distill returned {type(result).__name__}, expected a DistilledSet")
        shared |= run.shared_seconds
        volatile = {
            **result.provenance.get("volatile", {}),
            "seconds": seconds + run.own_seconds,
            "shared_seconds": math.fsum(shared.values()),
        }
        facts = {"config": fingerprints.by_content(config), "stops": dict(run.stops), "volatile": volatile}
    return dataclasses.replace(result, provenance={**result.provenance, **facts})


def _request(plugin: Plugin, config: Any, budget: Budget, source: Dataset, seed: int, place: Place) -> dict[str, Any]:
    """Everything that decides the content of the set; equal requests find each other's work."""
    return {
        "method": plugin.name,
        "code": fingerprints.code(plugin.module, *([validator] if plugin.choose is not None else [])),
        "config": fingerprints.by_content(config),
        "budget": budget.spec(),
        "dataset": source.fingerprint,
        "seed": seed,
        "engine": {**machine.engine(place.device), "compile": place.compile},
        "time_budget": place.time_budget,
    }


def _announce(plugin: Plugin, source: Dataset, budget: Budget, config: Any, place: Place) -> None:
    cost = plugin.cost(source.train, budget, config)
    place.progress.say(announcement(f"{plugin.about.title} on {source.name}, {budget}", cost, place.device))
