"""Whether a stored epoch of replayed labels is one: its fields, their types and shapes, and their values."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from condense.distilled.labels.ranges import LARGEST, misfit, target_misfit

Epoch = Mapping[str, Tensor]
PER_SAMPLE = frozenset({"indices", "target", "crop", "flip", "norm_group", "partner"})
PER_STEP = frozenset({"mix_weight", "mix_box"})
_SIDES = {"crop": (4,), "mix_box": (4,)}  # of what has more than one number for a sample or a step
_WHOLE = frozenset({"indices", "norm_group", "partner", "mix_box"})


def steps(samples: int, batch: int) -> int:
    """Steps of so many samples; the last may be short."""
    return -(-samples // batch)


def problem(stored: Epoch, batch: int, form: str, images: int | None, classes: int | None) -> str | None:
    """What is wrong with an epoch, as the end of a sentence.

    images: that the set stands for; classes: K of the other epochs; None where they are not known.
    """
    if missing := {"indices", "target"} - stored.keys():
        return f"lacks {', '.join(sorted(missing))}"
    if unknown := stored.keys() - PER_SAMPLE - PER_STEP:
        return f"holds {', '.join(sorted(unknown))}, known are {', '.join(sorted(PER_SAMPLE | PER_STEP))}"
    if ("partner" in stored) != ("mix_weight" in stored) or ("mix_box" in stored and "partner" not in stored):
        return "holds only a part of partner, mix_weight and mix_box"
    return _shape_problem(stored, batch, classes) or _value_problem(stored, batch, form, images)


def _shape_problem(stored: Epoch, batch: int, classes: int | None) -> str | None:
    target, indices = stored["target"], stored["indices"]
    if indices.ndim != 1:
        return f"has indices of shape {tuple(indices.shape)}; expected one for each sample"
    if target.ndim != 2 or not target.is_floating_point():
        return f"has targets of shape {tuple(target.shape)}; expected a floating-point row for each sample"
    if classes is not None and target.shape[1] != classes:
        return f"has targets of {target.shape[1]} classes, expected {classes}"
    for name, tensor in stored.items():
        rows = len(indices) if name in PER_SAMPLE else steps(len(indices), batch)
        if tensor.ndim and len(tensor) != rows:
            return f"has {len(tensor)} rows of {name}, expected {rows}"
        sides = tuple(target.shape[1:]) if name == "target" else _SIDES.get(name, ())
        if tuple(tensor.shape) != (rows, *sides):
            return f"has {name} of shape {tuple(tensor.shape)}, expected {(rows, *sides)}"
        if not _is_of_kind(name, tensor):
            return f"has {name} of {tensor.dtype}, expected {_kind(name)}"
    return None


def _value_problem(stored: Epoch, batch: int, form: str, images: int | None) -> str | None:
    last = len(stored["indices"]) % batch or batch  # samples of the last step
    found = [
        misfit("indices", stored["indices"], 0, LARGEST if images is None else images - 1),
        target_misfit("target", stored["target"], form),
    ]
    if "crop" in stored:
        found.append(misfit("crop", stored["crop"]))
    if "partner" in stored:
        found.append(misfit("partner", stored["partner"], 0, batch - 1))
        found.append(misfit("partner in the last step", stored["partner"][-last:], 0, last - 1))
        found.append(misfit("mix_weight", stored["mix_weight"], 0, 1))
    if "mix_box" in stored:
        found.append(misfit("mix_box", stored["mix_box"], 0))
    return next((each for each in found if each), None)


def _is_of_kind(name: str, tensor: Tensor) -> bool:
    if name in _WHOLE:
        return not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool
    return tensor.dtype == torch.bool if name == "flip" else tensor.is_floating_point()


def _kind(name: str) -> str:
    if name == "flip":
        return "true or false"
    return "whole numbers" if name in _WHOLE else "floating-point numbers"
