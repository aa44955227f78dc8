"""The methods that the contract tests run over, at a size at which all of them take a fraction of a second.

Covered are the built-in methods and every file of `plugins/`. A new method needs no entry here, unless its counts must
keep an order or hold most of its work: whole-number fields of its "cpu" preset are cut down by `tiny`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from condense import api, data, methods
from condense.data import Dataset, Split
from condense.distilled import DistilledSet
from condense.evaluate import validator
from condense.method import Plugin

IPC = 2
CLASSES = ("one", "two", "three")
PLUGINS = Path(__file__).resolve().parent / "plugins"


@dataclass(frozen=True)
class Case:
    """One method: `reference` is what `distill` is asked for, `changes` what else than its preset."""

    name: str
    reference: str
    built_in: bool
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def plugin(self) -> Plugin:
        return _method(self.reference)

    def overrides(self, preset: str | None = "cpu") -> dict[str, Any]:
        """What makes a preset tiny; conformance plugins are written that way."""
        if not self.built_in:
            return {}
        return tiny(self.plugin.config(preset)) | SMALLER.get(self.reference, {}) | dict(self.changes)

    def __str__(self) -> str:
        return self.name


# Experts take most of the time of a tiny distillation: fewer, in larger batches, meet the same interruptions. The first
# window of DATM must stay below its last one, where `tiny` alone would make them equal, and its labels, learned from
# experts that hardly know the classes, must not change sides. Two networks in a pool, few updates to grow old and a few
# steps more let a network be born anew and chosen again, whichever are chosen.
_FEW_EXPERTS = {"experts": 2, "expert_batch": 12}
SMALLER: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("ast", "ftd", "mtt", "tesla"), _FEW_EXPERTS),
    "datm": {**_FEW_EXPERTS, "first_start": 1, "lr_labels": 0.1},
    "frepo": {"pool": 2, "online_updates": 1, "steps": 7},
    "krr_st": {"pool": 2, "inner_steps": 2, "steps": 7},
}

# Finding a method reads the descriptions of all installed distributions, which takes as long as a tiny distillation.
_method = functools.cache(methods.get)


def built_in() -> list[Case]:
    return [Case(name, name, True) for name in methods.built_in()]


def label_stores() -> list[Case]:
    """Methods whose labels are a store that is written epoch by epoch, as no "cpu" preset has one.

    The prior performances of CV-DD, which are measured in runs of their own, come before its store.
    """
    return [Case(f"{name}-regions", name, True, (("labels", "regions"),)) for name in ("sre2l", "cvdd")]


def conformance() -> list[Case]:
    return [Case(path.stem, str(path), False) for path in sorted(PLUGINS.glob("*.py"))]


def cases() -> list[Case]:
    return built_in() + label_stores() + conformance()


def one_of_each_family() -> list[Case]:
    """The first built-in method of each family, those with a store of labels, and every conformance plugin."""
    first = {case.plugin.about.family: case for case in reversed(built_in())}
    # The first of this family is a choice in one go; this one has two loops and a pool of networks for a kill to meet.
    first["self-supervised"] = Case("krr_st", "krr_st", True)
    return sorted(first.values(), key=str) + label_stores() + conformance()


def tiny(config: Any) -> dict[str, Any]:
    """Overrides that leave a configuration's switches alone and cut down its counts."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, int) and not isinstance(value, bool):
            changes[field.name] = min(value, 4 if "batch" in field.name else 3)
        elif isinstance(value, str) and value.startswith(tuple(_NARROWEST)):
            changes[field.name] = "+".join(map(_narrow, value.split("+")[:2]))
    return changes


# The least width of each family; a committee is several of them joined by +, of which two are enough.
_NARROWEST = {
    "convnet": "width=4",
    "resnet": "width=4",
    "vgg": "width=4",
    "mobilenet": "width=10",
    "shufflenet": "width=50",
    "efficientnet": "width=10",
    "densenet": "growth=2",
}


def _narrow(network: str) -> str:
    name, *knobs = re.split("[:,]", network.strip())
    family = next(family for family in _NARROWEST if name.startswith(family))
    kept = [knob for knob in knobs if not knob.startswith(("width=", "depth=", "growth="))]
    return f"{name}:" + ",".join([*kept, _NARROWEST[family]])


class _Unreachable:
    """A test split that nobody may look at."""

    def to(self, device: str) -> _Unreachable:
        return self

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a method reached the test split: {name}")


def dataset(labels: torch.Tensor | None = None, *, flips: bool = False, side: int = 8) -> Dataset:
    """36 noisy grey images of three patterns, and a test split that must not be touched."""
    draws = torch.Generator().manual_seed(0)
    true_labels = torch.arange(36) % len(CLASSES)
    patterns = torch.randint(0, 128, (len(CLASSES), 1, side, side), generator=draws)
    images = patterns[true_labels] + torch.randint(0, 128, (36, 1, side, side), generator=draws)
    train = Split.from_arrays(images.to(torch.uint8), true_labels if labels is None else labels, CLASSES, flips=flips)
    return Dataset(
        name="tiny",
        train=train,
        test=_Unreachable(),  # type: ignore[arg-type]
        classes=train.classes,
        shape=train.shape,
        fingerprint=train.fingerprint,
        flips=flips,
        mean=train.mean,
        std=train.std,
        licence="none",
        homepage="none",
    )


def quick_validator(held: Split, *, device: str = "cpu") -> Callable[[DistilledSet], float]:
    """Accuracy of the nearest class mean: it answers as the real one does, without training a network."""
    images = held.take(torch.arange(len(held))).flatten(1).float() / 255

    def validate(candidate: DistilledSet) -> float:
        view, labels = candidate.view(), candidate.labels.hard()
        rows = view.gather(torch.arange(len(view))).flatten(1)
        means = torch.stack([rows[labels == label].mean(dim=0) for label in range(held.n_classes)])
        return float((torch.cdist(images, means).argmin(dim=1) == held.labels).double().mean())

    return validate


@contextlib.contextmanager
def working_in(folder: Path, source: Dataset | None = None) -> Iterator[None]:
    """Lets `distill` find the tiny data, and its own folders under `folder`."""
    source = source or dataset()
    folder.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    os.chdir(folder)
    try:
        with (
            mock.patch.object(data, "load", return_value=source),
            mock.patch.object(methods, "get", _method),
            mock.patch.object(validator, "make_validator", quick_validator),
        ):
            yield
    finally:
        os.chdir(before)
        torch.set_num_threads(threads)


def distil(case: Case, folder: Path, *, seed: int = 0, source: Dataset | None = None, **options: Any) -> Path:
    """Distils the tiny data with everything under `folder`, saving after every step; returns the set's folder."""
    options = {"preset": "cpu", "overrides": case.overrides(), **options}
    place = api.Place(cache_dir=folder / "cache", checkpoint_seconds=0.0)
    with working_in(folder, source):
        return folder / api.distill(case.reference, "tiny", ipc=IPC, seed=seed, place=place, **options)


def content(folder: Path) -> dict[str, bytes]:
    """The bytes that two equal sets share: tensors and label shards."""
    paths = [folder / "data.safetensors", *sorted((folder / "labels").glob("*"))]
    return {path.name: path.read_bytes() for path in paths}
