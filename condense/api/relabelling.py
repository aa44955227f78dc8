"""Relabel: give any set the labels that a recipe describes, so that a table can compare images under equal labels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from condense import distilled, files, machine, soft_labels
from condense.api import fingerprints
from condense.api.distilling import is_finished
from condense.api.place import SETS, WORK, Place, announcement, origin, set_folder
from condense.distilled import DistilledSet
from condense.errors import BadInput, UnknownName
from condense.identity import digest
from condense.run import Run
from condense.soft_labels import LabelRecipe


def relabel(
    name: str | Path,
    labels: str | Path,
    *,
    seed: int | None = None,
    dataset: str | None = None,
    out: Path | None = None,
    place: Place | None = None,
) -> Path:
    """Labels the images of a saved set anew and returns the folder of the new set; the old one stays.

    The same request finds its finished set again, or continues an interrupted labelling. In tables the new set is the
    old method's, in a row of its own that names the recipe.

    Args:
        name: a set's folder, or its name under `runs/sets`.
        labels: a recipe's name, a JSON file, or another set, whose recipe is taken and with it the teachers.
        seed: of the labels; None is the set's own.
        dataset: where the set's data set is found, when its recorded name does not say.
        out: folder to write; the default is `runs/sets/<set>-labels-<request>`.

    Raises:
        BadInput: for a recipe that cannot label this set.
    """
    place = place or Place()
    old = distilled.load(set_folder(name))
    called, recipe = label_recipe(labels)
    source = origin(old, name, dataset, place)
    seed = int(old.provenance.get("seed", 0)) if seed is None else seed
    request = {
        "set": old.id,
        "code": fingerprints.code(soft_labels),
        "labels": fingerprints.by_content(recipe.spec()),
        "seed": seed,
        "engine": machine.engine(place.device),
    }
    target = Path(out) if out is not None else SETS / f"{set_folder(name).name}-labels-{digest(request)[:8]}"
    if is_finished(target, digest(request)):
        return target

    bound = old.bind(source.train)
    view, classes = bound.view(), _classes(old)
    expected = soft_labels.cost(recipe, source.train, len(view))
    place.progress.say(announcement(f"labels of {set_folder(name).name}", expected, place.device))
    work = WORK / f"labels-{digest(request)[:16]}"
    with Run(work, seed=seed, request=request, **place.options()) as run:
        wise = soft_labels.teachers_of(recipe, source.train, run)
        plain, estimate = soft_labels.settled(recipe, view, classes, source.train, old.preprocessing, run, wise=wise)
        if estimate is not None:
            found = f"estimated as {estimate.raw:.2f} ± {estimate.deviation:.2f}"
            place.progress.say(f"weight of the class in each label: {estimate.value:.2f}, {found}")
        made = soft_labels.label(plain, view, classes, source.train, old.preprocessing, run, wise=wise)
        told = soft_labels.provenance(recipe, wise)
        told |= {} if estimate is None else {"ground_truth": dataclasses.asdict(estimate)}
        facts = _provenance(old, told, called, request, run)
        distilled.save(dataclasses.replace(old, labels=made, provenance=facts), target)
    files.discard(work)
    return target


def label_recipe(name: str | Path) -> tuple[str, LabelRecipe]:
    """A recipe by its name, from a file, or that of another set's labels, and what to call it.

    It is called by its name, by that of its file, or as the other set calls it, else by that set's method: how somebody
    named a folder tells nothing to others.

    Raises:
        UnknownName: offering the nearest recipes.
        BadInput: for a set that does not record how it was labelled.
    """
    if str(name).endswith(".json") or str(name) in soft_labels.RECIPES:
        return Path(name).stem, soft_labels.read(name)
    try:
        folder = set_folder(name)
    except UnknownName:
        return Path(name).stem, soft_labels.read(name)
    made = distilled.load(folder).provenance
    spec = made.get("label_recipe")
    if spec is None:
        raise BadInput(f"{name} does not record how it was labelled; name one of {', '.join(soft_labels.RECIPES)}")
    called = made.get("relabelled", {}).get("labels") or f"of {made.get('method', 'another set')}"
    return called, LabelRecipe.from_spec(spec)


def _classes(old: DistilledSet) -> Any:
    return old.labels.hard() if "hard" in old.labels.offers else None


def _provenance(
    old: DistilledSet, facts: Mapping[str, Any], labels: str, request: Mapping[str, Any], run: Run
) -> dict[str, Any]:
    """What the old set says of its images, with the new labels, whose seconds are added to those of the images.

    The teachers of the labels stand under "teachers", and those that the images were recovered from, if there are any,
    under "image_teachers".
    """
    made = old.provenance
    recovered = made.get("image_teachers", made.get("teachers") if "relabelled" not in made else None)
    before = made.get("volatile", {})
    return {
        **made,
        **facts,
        **({"image_teachers": recovered} if recovered else {}),
        "config": {**made.get("config", {}), "label_recipe": request["labels"]},
        "preset": f"{made.get('preset') or 'default'}, labels {labels}",
        "relabelled": {"from": old.id, "labels": labels, "seed": request["seed"]},
        "engine": request["engine"],
        "volatile": {
            **before,
            **facts["volatile"],
            "request": digest(request),
            "seconds": before.get("seconds", 0.0) + run.own_seconds,
            "shared_seconds": before.get("shared_seconds", 0.0) + math.fsum(run.shared_seconds.values()),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
