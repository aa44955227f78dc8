"""How experts are trained: plain SGD, FTD's flat trajectories and AST's smooth ones as fields of one recipe."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from condense import networks
from condense.augment import DSA, Augmentation, NoAugmentation, from_spec
from condense.data import Split
from condense.errors import BadInput, UnknownName

Optimiser = Literal["sgd", "gsam"]


def _published_augmentation() -> dict[str, Any]:
    return DSA(align_corners=True).spec()


@dataclass(frozen=True)
class ExpertRecipe:
    """Plain data, to JSON and back; the defaults are MTT's experts (Cazenavette et al., buffer.py of the authors).

    Attributes:
        network: a name that `condense.networks.build` takes, without batch statistics and dropout.
        drop: (epoch index, factor): once that epoch, counted from 0, is done, the rate is multiplied by the factor and
            the optimiser made anew, so momentum restarts (AST).
        augment: specification as `condense.augment.from_spec` reads it, or None. On data whose classes a mirror image
            changes, mirroring is left out of it.
        optimiser: "sgd", or "gsam" for FTD's surrogate-gap step (see `condense.experts.gradients.flat_gradient`).
        rho, alpha, adaptive: of GSAM: radius, weight of the orthogonal part (0 is SAM), perturbation scaled by weights.
        loss_ramp: (epochs n, start c): the cross-entropy of epoch index e < n is multiplied by c + (1 - c) e / n; AST's
            "clipping loss" is (10, 0.5).
        gradient_penalty: lambda, weight of AST's penalty on the input gradient (see `gradients.input_penalty`).

    Raises:
        BadInput: naming the field, what it must be and what came.
    """

    network: str = "convnet"
    lr: float = 0.01
    batch: int = 256
    momentum: float = 0.0
    weight_decay: float = 0.0
    drop: tuple[int, float] | None = None
    augment: Mapping[str, Any] | None = field(default_factory=_published_augmentation)
    optimiser: Optimiser = "sgd"
    rho: float = 0.01
    alpha: float = 0.3
    adaptive: bool = True
    loss_ramp: tuple[int, float] | None = None
    gradient_penalty: float = 0.0

    def __post_init__(self) -> None:
        _number("lr", self.lr, above=0.0)
        _number("momentum", self.momentum, least=0.0, below=1.0)
        _number("weight_decay", self.weight_decay, least=0.0)
        _number("rho", self.rho, above=0.0)
        _number("alpha", self.alpha, least=0.0)
        _number("gradient_penalty", self.gradient_penalty, least=0.0)
        if isinstance(self.batch, bool) or not isinstance(self.batch, int) or self.batch < 1:
            raise BadInput(f"batch must be a whole number of at least 1, got {self.batch!r}")
        if self.optimiser not in ("sgd", "gsam"):
            raise BadInput(f"optimiser must be 'sgd' or 'gsam', got {self.optimiser!r}")
        for name in ("drop", "loss_ramp"):
            object.__setattr__(self, name, _pair(name, getattr(self, name)))

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        return self.lr * self.drop[1] if self.drop and epoch > self.drop[0] else self.lr

    def restarts(self, epoch: int) -> bool:
        """Whether momentum starts afresh before this epoch, counted from 0."""
        return self.drop is not None and epoch == self.drop[0] + 1

    def loss_weight(self, epoch: int) -> float:
        """c_e, the factor of the cross-entropy in an epoch, counted from 0."""
        if self.loss_ramp is None or epoch >= self.loss_ramp[0]:
            return 1.0
        length, start = self.loss_ramp
        return start + (1.0 - start) * epoch / length

    def augmentation(self, train: Split) -> Augmentation:
        """The augmentation for a split, without mirroring where that does not keep the class."""
        wanted = from_spec(self.augment) if self.augment else NoAugmentation()
        return wanted if train.flips else wanted.without_flip()

    def identity(self) -> dict[str, Any]:
        """What decides the training, in one spelling: recipes that train alike have equal identities."""
        values = self.spec() | {"network": networks.canonical(self.network)}
        if self.optimiser == "sgd":
            values = {name: value for name, value in values.items() if name not in ("rho", "alpha", "adaptive")}
        return values

    def spec(self) -> dict[str, Any]:
        """Plain JSON values; `from_spec(spec())` is equal to this recipe."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        values["augment"] = None if self.augment is None else dict(self.augment)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> ExpertRecipe:
        """Reads what `spec` writes; fields left out keep their defaults.

        Raises:
            BadInput: for an unknown field (with the nearest names) or a value out of range.
        """
        known = [entry.name for entry in dataclasses.fields(cls)]
        for name in spec:
            if name not in known:
                raise UnknownName("field of an expert recipe", str(name), known)
        return cls(**spec)


def _pair(name: str, value: Any) -> tuple[int, float] | None:
    """(epochs, factor in (0, 1]), from a tuple or, as JSON has it, a list."""
    if value is None:
        return None
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise BadInput(f"{name} must be a pair of an epoch number and a factor, or None, got {value!r}")
    epochs, factor = value
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise BadInput(f"the first number of {name} counts epochs and must be at least 0, got {epochs!r}")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0.0 < factor <= 1.0:
        raise BadInput(f"the second number of {name} is a factor in (0, 1], got {factor!r}")
    return epochs, float(factor)


def _number(
    name: str, value: Any, *, above: float = -math.inf, least: float = -math.inf, below: float = math.inf
) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not above < value < below or value < least:
        bounds = [f"above {above:g}"] * (above > -math.inf) + [f"at least {least:g}"] * (least > -math.inf)
        bounds += [f"below {below:g}"] * (below < math.inf)
        raise BadInput(f"{name} must be a number {' and '.join(bounds)}, got {value!r}")


MTT = ExpertRecipe()
# The authors of FTD list alpha 0.3 or 1 by table cell; DATM uses 0.3 throughout.
FTD = ExpertRecipe(optimiser="gsam", rho=0.01, alpha=0.3, adaptive=True)
# The authors' command for 50 epochs: the rate drops after epoch index 50 // 2 + 1.
AST = ExpertRecipe(lr=0.003, momentum=0.9, weight_decay=1e-3, drop=(26, 0.6), loss_ramp=(10, 0.5), gradient_penalty=2.0)
