"""A label recipe: how any set is labelled, as data. So a table can hold random images with the labels of a method."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from condense.data import Split
from condense.distilled.labels import Codec, Regions
from condense.distilled.labels.committee import Average, Statistics
from condense.distilled.labels.quantised import Kind as CodecKind
from condense.errors import BadInput, UnknownName
from condense.soft_labels.calibration import Calibration
from condense.soft_labels.checks import check_answers

Kind = Literal["hard", "fixed", "regions", "teacher"]
KINDS = ("hard", "fixed", "regions", "teacher")
_SOFT = frozenset({"teachers", "training", "training_epochs", "average", "weights", "statistics", "temperature"})
_DRAWN = frozenset({"epochs", "batch", "min_scale", "mix", "mix_alpha", "crops", "same_image", "norm_group"})
_CODEC = frozenset({"codec", "k"})
_USED: Mapping[str, frozenset[str]] = {  # fields that mean something to labels of a kind
    "hard": frozenset(),
    "teacher": _SOFT,
    "fixed": _SOFT | _CODEC | {"ground_truth"},
    "regions": _SOFT | _CODEC | _DRAWN | {"linear", "calibration"},
}


@dataclass(frozen=True)
class LabelRecipe:
    """Everything about labels that is not the set.

    Args:
        kind: "hard", the class of each image; "fixed", one answer for each; "regions", answers for drawn regions of
            every epoch; "teacher", the teachers themselves, asked while training.
        teachers: "a + b + c", as `condense.teachers` reads them.
        training, training_epochs: recipe of the teachers, by its name there, and another number of epochs.
        average, weights, statistics, temperature: of the committee; see `Committee`.
        epochs, batch, min_scale, mix, mix_alpha, crops, same_image, norm_group: of regions; see `Regions`.
        linear, calibration: whether answers are mixed instead of images, and which are trusted; see `per_epoch`.
        codec, k: how answers are kept; see `Codec`.
        ground_truth: weight of the class in fixed labels; "estimated" is the one that is best for a set by ridge
            regression on features of the first teacher (`weight_by_teacher`).

    Raises:
        UnknownName: for another kind.
        BadInput: for soft labels without teachers, a field that would be ignored, or a number that cannot be.
    """

    kind: Kind
    teachers: str = ""
    training: str = "sre2l-cifar"
    training_epochs: int | None = None
    average: Average = "logits"
    weights: tuple[float, ...] | None = None
    statistics: Statistics = "running"
    temperature: float = 20.0
    epochs: int = 300
    batch: int = 1024
    min_scale: float = 0.08
    mix: Literal["cutmix", "mixup"] | None = "cutmix"
    mix_alpha: float = 1.0
    crops: int = 1
    same_image: bool = False
    norm_group: int | None = None
    linear: bool = False
    calibration: Mapping[str, float] | None = None
    codec: CodecKind = "full"
    k: int = 5
    ground_truth: float | Literal["estimated"] = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName("kind of label recipe", str(self.kind), KINDS)
        if self.kind != "hard" and not self.teachers:
            raise BadInput(f'labels of the kind "{self.kind}" need teachers, as in "resnet18:norm=batch"; name them')
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(self.weights))
        if ignored := sorted(self._stated() - {"kind"} - _USED[self.kind]):
            raise BadInput(f'labels of the kind "{self.kind}" have no {", ".join(ignored)}; leave that out')
        if (self.codec == "full" and self.k != type(self).k) or (self.mix is None and self.mix_alpha != 1.0):
            raise BadInput("k belongs to a codec other than full, and mix_alpha to a mix; leave it out, or name one")
        self._check_numbers()
        check_answers(self)

    def _check_numbers(self) -> None:
        """Refuses before any teacher is trained what its parts would refuse after it."""
        weight = 1.0 if self.ground_truth == "estimated" else float(self.ground_truth)
        if not 0 < self.temperature < math.inf or self.epochs < 1 or not 0 <= weight <= 1:
            raise BadInput(
                "labels need a temperature above 0, at least one epoch, and a weight of the class in [0, 1] or "
                "estimated; got "
                f"temperature={self.temperature}, epochs={self.epochs}, ground_truth={self.ground_truth}"
            )
        Codec(self.codec, self.k)
        Calibration.from_spec(self.calibration or {})
        self._rule(count=1, shape=(1, 1, 1), seed=0, flip=False)

    def _stated(self) -> set[str]:
        """The fields that differ from their defaults."""
        return {entry.name for entry in dataclasses.fields(self) if getattr(self, entry.name) != entry.default}

    @classmethod
    def of(
        cls, config: Any, teachers: str, training: str, epochs: int, weights: Sequence[float] | None = None
    ) -> LabelRecipe:
        """The recipe that a method's configuration states in `labels`, `temperature` and, where it has them, `label_*`.

        Args:
            config: of a method; what its kind of label does not use is left aside.
            teachers, training, epochs: who answers, and how they are trained.
            weights: of a committee.
        """
        if config.labels == "hard":
            return cls("hard")
        drawn: dict[str, Any] = {}
        if config.labels == "regions":
            # The strengths of SRe2L's scripts: of CutMix for large images, of MixUp for CIFAR.
            alpha = 0.8 if config.label_mix == "mixup" else 1.0
            drawn = {"epochs": config.label_epochs, "batch": config.label_batch, "norm_group": config.label_group}
            drawn |= {"mix": config.label_mix, "mix_alpha": alpha}
        return cls(
            config.labels,
            teachers,
            training=training,
            training_epochs=epochs,
            weights=None if weights is None else tuple(weights),
            statistics=getattr(config, "label_statistics", "running"),
            temperature=config.temperature,
            **drawn,
        )

    def spec(self) -> dict[str, Any]:
        """Plain JSON values: the kind, and what differs from the defaults."""
        fields = {name: value for name, value in vars(self).items() if name in self._stated()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> LabelRecipe:
        """Reads what `spec` writes.

        Raises:
            UnknownName: for a field that does not exist.
            BadInput: for a value that is none of its field.
        """
        from pydantic import TypeAdapter, ValidationError

        known = [entry.name for entry in dataclasses.fields(cls)]
        if unknown := [name for name in spec if name not in known]:
            raise UnknownName("field of a label recipe", unknown[0], known)
        try:
            return TypeAdapter(cls).validate_python(dict(spec))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise BadInput(f"label recipe: {place}: {first['msg']}, got {first['input']!r}") from error

    def regions(self, count: int, train: Split, seed: int) -> Regions:
        """The rule of the regions for so many images."""
        return self._rule(count=count, shape=train.shape, seed=seed, flip=train.flips)

    def _rule(self, **of_the_set: Any) -> Regions:
        return Regions(
            batch=self.batch,
            scale=(self.min_scale, 1.0),
            mix=None if self.mix is None else {"kind": self.mix, "alpha": self.mix_alpha},
            crops=self.crops,
            same_image=self.same_image,
            norm_group=self.norm_group,
            **of_the_set,
        )
