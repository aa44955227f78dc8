"""Score: hand the judge a loaded set without its provenance, and keep what it finds as a record."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from condense import distilled, files
from condense.api import fingerprints
from condense.api.place import RESULTS, WORK, Place, origin, require_writable, set_folder
from condense.budget import Budget
from condense.distilled import DistilledSet
from condense.evaluate import judge as judging
from condense.evaluate import protocols, records
from condense.evaluate.offers import faint_labels
from condense.evaluate.parts import BytesRef, DatasetRef, DistillCost, SetRef
from condense.evaluate.protocol import Protocol
from condense.evaluate.version import JUDGE
from condense.identity import digest
from condense.run import Run

_DIGITS = 16  # of the digest that names a label recipe


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
        protocol: a name, whose newest version judges, a name with its version, or a protocol file.
        networks, seeds: a part of the protocol's panel, another number of seeds; None is the protocol's own.
        dataset: where the set's data set is found, when its recorded name does not say (own data in another folder).
        command: the command line to record; None records this process's own.

    Raises:
        BadInput: when the data set is not the one that the set was made from, or records cannot be written there.
    """
    place = place or Place()
    require_writable(results, "--results")
    judged = distilled.load(set_folder(name))
    made = judged.provenance
    source = origin(judged, name, dataset, place)
    rules = protocols.load(protocol)
    record = functools.partial(
        records.compose,
        protocol=rules.reference(),
        dataset=DatasetRef(name=source.name, fingerprint=source.fingerprint),
        budget=Budget.from_spec(made["budget"]),
        judged=set_reference(judged),
        command=command or shlex.join(["condense", *sys.argv[1:]]),
        distill=distill_cost(made),
    )
    if warning := faint_labels(judged.labels, rules):
        place.progress.say(f"warning: {warning}")
    empty = record(cells={})
    path = records.path_of(results, empty)
    known = records.standing(results, empty)
    with _judging(judged, rules, place) as run:
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
            # Written after every seed, and before its checkpoint goes: an interrupted call repeats seconds of work.
            records.merge(results, record(cells={network: cell}))
    files.discard(run.directory)
    return path


def _judging(judged: DistilledSet, rules: Protocol, place: Place) -> Run:
    """The run that holds what is begun of a judging: another judge, or other code of it, does not go on with it.

    A budget of time is for distilling, and processes that share a distillation judge for themselves.
    """
    request = {"set": judged.id, "protocol": rules.digest, "judge": JUDGE, "code": fingerprints.code(judging)}
    options = {**place.options(), "time_budget": None, "shared": False}
    return Run(WORK / f"judge-{judged.id[:16]}-{digest(request)[:16]}", seed=0, request=request, **options)


def set_reference(judged: DistilledSet) -> SetRef:
    """How records name a set: what made it and what it weighs."""
    made = judged.provenance
    size = judged.bytes()
    return SetRef(
        id=judged.id,
        method=made["method"],
        title=made.get("title", made["method"]),
        kind=made.get("kind", "synthetic"),
        preset=made.get("preset"),
        changed=made.get("volatile", {}).get("changed"),
        content=judged.content,
        label_recipe=digest(recipe)[:_DIGITS] if (recipe := made.get("label_recipe")) else None,
        config=made.get("config", {}),
        seed=made.get("seed", 0),
        seeded=made.get("seeded", True),
        trained_on=made.get("trained_on", "train"),
        preprocessing=judged.preprocessing.kind,
        labels=judged.labels.kind,
        count=len(judged),
        bytes=BytesRef(images=size.images, labels=size.labels, extras=size.extras, preprocessing=size.preprocessing),
        engine=made.get("engine", {}),
        stops=made.get("stops", {}),
    )


def distill_cost(made: Mapping[str, Any]) -> DistillCost | None:
    """What making a set took, when its provenance says so."""
    volatile = made.get("volatile", {})
    if "seconds" not in volatile:
        return None
    found = {name: volatile[name] for name in ("seconds", "shared_seconds", "peak_bytes") if name in volatile}
    return DistillCost(**found)
