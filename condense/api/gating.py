"""Gate: whether a method's self-supervised teacher has learned enough to teach."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from condense import files, methods
from condense.api.place import WORK, Place, announcement, require_writable
from condense.errors import BadInput
from condense.identity import digest
from condense.method import Plugin, with_overrides
from condense.run import Run

if TYPE_CHECKING:
    from condense.self_supervised import Gate


class Gated(NamedTuple):
    """What a teacher's probe found, and its weights where they were asked for."""

    gate: Gate
    weights: str | None  # NETWORK@FILE, as the setting `teacher` takes it


def gate(
    method: str,
    dataset: str,
    *,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    weights: Path | None = None,
    place: Place | None = None,
) -> Gated:
    """Trains or loads the teacher that a method would ask, and probes it on held-out training images.

    The teacher sees no label, the probe does; no test image is seen. What is trained stays in the cache, where a
    distillation with the same settings finds it.

    Args:
        method: one with a self-supervised teacher, such as krr_st.
        preset, overrides: as for `distill`.
        weights: FILE.safetensors, to write the teacher's weights to.

    Raises:
        BadInput: for a method without such a teacher, or anything else in the request that cannot be done.
    """
    from condense.self_supervised import linear_probe_gate, teacher_cost, teacher_for

    place = place or Place()
    plugin = methods.get(method)
    config = with_overrides(plugin.name, plugin.config(preset), overrides or {})
    if not _asks(plugin):
        known = ", ".join(name for name in methods.built_in() if _asks(methods.get(name)))
        raise BadInput(f"{plugin.name} asks no self-supervised teacher; those that do are {known}")
    if weights is not None:
        if weights.suffix != ".safetensors":
            raise BadInput(f"{weights}: weights are written as FILE.safetensors; choose such a name")
        require_writable(weights.parent, "--weights")
    train = place.dataset(dataset).train
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name.startswith("teacher")}
    place.progress.say(announcement(f"the teacher on {dataset}", teacher_cost(train, config), place.device))
    work = WORK / f"gate-{digest({'data': train.fingerprint, 'settings': settings})[:8]}"
    with Run(work, seed=0, **place.options()) as run:
        teacher = teacher_for(train.unlabelled(), config, run)
        found = linear_probe_gate(train, teacher, run)
    files.discard(work)
    return Gated(found, None if weights is None else teacher.save(weights))


def _asks(plugin: Plugin) -> bool:
    return any(entry.name == "teacher_projector" for entry in dataclasses.fields(plugin.config_type))
