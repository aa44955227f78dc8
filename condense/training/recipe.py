"""A training recipe: everything about "train a network on a set" that is not the network and not the set.

A recipe is plain data. It goes to JSON and back without loss, so a protocol file can hold it and a hash can name it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from condense.errors import BadInput, UnknownName
from condense.training.schedule import Schedule

OPTIMISERS = ("sgd", "adam", "adamw")
LOSSES = ("cross-entropy", "kl", "mse")
PRECISIONS = ("float32", "bfloat16", "float64")
DECAYED = ("all", "matrices")


@dataclass(frozen=True)
class Loss:
    """What is minimised over the batch mean.

    With logits z, target logits or probabilities t and temperature T:
        cross-entropy   -sum_k p_k log softmax(z / T)_k, p the class (hard) or the target probabilities (soft)
        kl              KL(p || softmax(z / T)), p = softmax(t / T) for target logits, else the probabilities given
        mse             mean over samples and classes of (z - t)^2; a hard label counts as its one-hot vector
    """

    kind: str = "cross-entropy"
    temperature: float = 1.0  # T
    square_factor: bool = False  # multiply by T^2 (Hinton et al. 2015); most relabelling protocols leave it out

    def __post_init__(self) -> None:
        _one_of("loss", self.kind, LOSSES)
        _number("temperature", self.temperature, above=0.0)


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Attributes:
        epochs: passes over the set that are really made (the matching papers' "1000" makes 1001, see `matching`).
        batch: samples a step; larger than the set means one step an epoch.
        nesterov, momentum: of SGD only.
        betas: of Adam and AdamW only.
        decay: "all" parameters, or "matrices": those of two or more dimensions (no bias, no norm).
        augment, mix: specifications as `condense.augment.from_spec` reads them, or None.
        updates: optimiser steps after which training ends within its last pass; None: with it.
        drop_last: leave out an epoch's last batch when it is not full (never the only one).

    Raises:
        BadInput: naming the field, what it must be and what came.
    """

    epochs: int
    batch: int = 256
    optimiser: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 5e-4
    decay: str = "all"
    schedule: Schedule = field(default_factory=Schedule)
    augment: Mapping[str, Any] | None = None
    mix: Mapping[str, Any] | None = None
    loss: Loss = field(default_factory=Loss)
    drop_last: bool = False
    precision: str = "float32"
    updates: int | None = None

    def __post_init__(self) -> None:
        _whole("epochs", self.epochs)
        if self.updates is not None:
            _whole("updates", self.updates)
        _whole("batch", self.batch)
        _one_of("optimiser", self.optimiser, OPTIMISERS)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("decay", self.decay, DECAYED)
        _number("lr", self.lr, above=0.0)
        _number("momentum", self.momentum, least=0.0, below=1.0)
        _number("weight_decay", self.weight_decay, least=0.0)
        if len(self.betas) != 2:
            raise BadInput(f"betas must be two numbers, got {self.betas!r}")
        for beta in self.betas:
            _number("betas", beta, least=0.0, below=1.0)
        if self.nesterov and (self.optimiser != "sgd" or self.momentum == 0.0):
            raise BadInput("nesterov needs optimiser 'sgd' with a momentum above 0; set nesterov to false")
        self.schedule.check(self.epochs)

    @classmethod
    def matching(cls, epochs: int = 1000, **fields: Any) -> Recipe:
        """The evaluation recipe of the matching papers for their nominal number of epochs E.

        Their loop is `range(E + 1)`; after epoch index E // 2 + 1 the rate is multiplied by 0.1 and the optimiser
        made anew, so momentum restarts. SGD, lr 0.01, momentum 0.9, weight decay 5e-4, batch 256
        (Zhao & Bilen, https://arxiv.org/abs/2102.08259 and successors; read in their evaluation code).
        """
        schedule = Schedule("drop-restart", after=epochs // 2 + 1, factor=0.1)
        return cls(epochs=epochs + 1, schedule=schedule, **fields)

    def steps_per_epoch(self, samples: int) -> int:
        """Optimiser steps that one pass over `samples` samples makes."""
        if self.drop_last:
            return max(1, samples // self.batch)
        return math.ceil(samples / self.batch)

    def batch_sizes(self, samples: int) -> list[int]:
        """The distinct sizes of batch that an epoch meets, largest first."""
        full = min(self.batch, samples)
        rest = samples - (self.steps_per_epoch(samples) - 1) * full
        return sorted({full, min(rest, full)}, reverse=True)

    def replace(self, **changes: Any) -> Recipe:
        """The same recipe with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def spec(self) -> dict[str, Any]:
        """Plain JSON values; `from_spec(spec())` is equal to this recipe.

        Without `updates` where there are none: recipes have names, and this field came after the first of them.
        """
        return {name: value for name, value in _plain(self).items() if name != "updates" or value is not None}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Recipe:
        """Reads what `spec` writes; fields left out keep their defaults.

        Raises:
            BadInput: for an unknown or missing field (with the nearest names) or a value out of range.
        """
        values = _known("recipe", spec, cls)
        if "epochs" not in values:
            raise BadInput("a recipe needs the field 'epochs'")
        values["schedule"] = Schedule(**_known("schedule", values.get("schedule") or {}, Schedule))
        values["loss"] = Loss(**_known("loss", values.get("loss") or {}, Loss))
        if "betas" in values:
            if not isinstance(values["betas"], list | tuple):
                raise BadInput(f"betas must be a list of two numbers, got {values['betas']!r}")
            values["betas"] = tuple(values["betas"])
        return cls(**values)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _known(kind: str, spec: Mapping[str, Any], target: type) -> dict[str, Any]:
    if not isinstance(spec, Mapping):
        raise BadInput(f"a {kind} must be a JSON object of fields, got {spec!r}")
    names = [entry.name for entry in dataclasses.fields(target)]
    for name in spec:
        if name not in names:
            raise UnknownName(f"{kind} field", str(name), names)
    return dict(spec)


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise BadInput(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def _whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(f"{name} must be a whole number of at least 1, got {value!r}")


def _number(
    name: str, value: Any, *, above: float = -math.inf, least: float = -math.inf, below: float = math.inf
) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{name} must be a finite number, got {value!r}")
    if not (above < value < below and value >= least):
        bounds = [f"above {above:g}"] * (above > -math.inf) + [f"at least {least:g}"] * (least > -math.inf)
        bounds += [f"below {below:g}"] * (below < math.inf)
        raise BadInput(f"{name} must be {' and '.join(bounds)}, got {value!r}")
