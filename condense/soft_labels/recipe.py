"""A label recipe: how any set is labelled, as data. So a table can hold random images under the labels of any method.

The recipe names the teachers and how they are trained; `label` takes them from the cache or trains them, and has them
answer for the images of a set. Of the labels that a set has, it uses the class of each image alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from condense import networks, teachers
from condense.data import Split
from condense.distilled.labels import Codec, Committee, CommitteeLabels, HardLabels, Labels, Member, Regions
from condense.distilled.labels.committee import Average, Statistics
from condense.distilled.labels.quantised import Kind as CodecKind
from condense.errors import BadInput, UnknownName
from condense.method import Cost
from condense.preprocessing import Preprocessing, normalise
from condense.run import Run
from condense.soft_labels.calibration import Calibration
from condense.soft_labels.fixed import fixed
from condense.soft_labels.images import Images
from condense.soft_labels.per_epoch import per_epoch
from condense.teachers import Teacher
from condense.training import Recipe

Kind = Literal["hard", "fixed", "regions", "teacher"]
KINDS = ("hard", "fixed", "regions", "teacher")


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
        ground_truth: weight of the class in fixed labels.

    Raises:
        UnknownName: for another kind.
        BadInput: for soft labels without teachers.
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
    ground_truth: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName("kind of label recipe", str(self.kind), KINDS)
        if self.kind != "hard" and not self.teachers:
            raise BadInput(f'labels of the kind "{self.kind}" need teachers, as in "resnet18:norm=batch"; name them')
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(self.weights))

    def spec(self) -> dict[str, Any]:
        """Plain JSON values: the kind, and what differs from the defaults."""
        fields = {entry.name: (getattr(self, entry.name), entry.default) for entry in dataclasses.fields(self)}
        plain = {name: value for name, (value, default) in fields.items() if value != default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

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
        return Regions(
            count=count,
            shape=train.shape,
            batch=self.batch,
            seed=seed,
            scale=(self.min_scale, 1.0),
            flip=train.flips,
            mix=None if self.mix is None else {"kind": self.mix, "alpha": self.mix_alpha},
            crops=self.crops,
            same_image=self.same_image,
            norm_group=self.norm_group,
        )


def label(
    recipe: LabelRecipe,
    images: Images,
    classes: Tensor | None,
    train: Split,
    space: Preprocessing,
    run: Run,
    *,
    wise: Sequence[Teacher] | None = None,
) -> Labels:
    """Labels of a set by a recipe; a store of labels for every epoch goes on where it was interrupted.

    Args:
        images: the view of the set, in `space`.
        classes: (N,) the class that each image was made for; None where the set does not say.
        train: the training split, from which teachers are trained.
        wise: the teachers, where the caller has them already.

    Raises:
        BadInput: for a recipe that needs classes of a set that has none, or teachers that cannot be had.
    """
    if recipe.kind == "hard":
        if classes is None:
            raise BadInput("the set says no class per image, so that it cannot be given hard labels")
        return HardLabels(classes, train.n_classes)
    wise = wise or teachers_of(recipe, train, run)
    answering = committee(recipe, wise, space)
    if recipe.kind == "teacher":
        return CommitteeLabels(answering, classes)
    codec = Codec(recipe.codec, recipe.k)
    if recipe.kind == "fixed":
        asked = answering.to(run.device)
        return fixed(images, asked, codec=codec, classes=classes, ground_truth=recipe.ground_truth)
    calibration = None if recipe.calibration is None else Calibration(**recipe.calibration)
    return per_epoch(
        images,
        recipe.regions(len(images), train, run.rng("regions").initial_seed()),
        answering,
        recipe.epochs,
        run,
        classes=classes,
        codec=codec,
        linear=recipe.linear,
        calibration=calibration,
    )


def teachers_of(recipe: LabelRecipe, train: Split, run: Run) -> list[Teacher]:
    """The teachers of a recipe, from the cache or trained; none for hard labels."""
    if recipe.kind == "hard":
        return []
    training = _training(recipe, train)
    return teachers.committee(recipe.teachers, train, normalise(train.mean, train.std), training, run)


def cost(recipe: LabelRecipe, train: Split, images: int) -> Cost:
    """The work of `label` for so many images, as if no teacher were in the cache."""
    if recipe.kind == "hard":
        return Cost(operations=0.0, memory_bytes=0.0)
    training = teachers.committee_cost(recipe.teachers, train, _training(recipe, train))
    names = [name.partition("@")[0] for name in teachers.members(recipe.teachers)]
    built = [networks.build(name, train.shape, train.n_classes) for name in names]
    forward = sum(networks.operations(network, train.shape) for network in built)
    answers = {"teacher": 0, "fixed": images, "regions": images * recipe.crops * recipe.epochs}[recipe.kind]
    row = Codec(recipe.codec, recipe.k).nbytes(1, train.n_classes)
    epoch = images * recipe.crops * train.n_classes
    maps = max(networks.activation_bytes(network, train.shape) for network in built)
    return Cost(
        operations=training.operations + forward * answers,
        memory_bytes=max(training.memory_bytes, 256.0 * maps, 8.0 * epoch if recipe.kind == "regions" else 0.0),
        disk_bytes=float(row * answers),
    )


def _training(recipe: LabelRecipe, train: Split) -> Recipe:
    return teachers.recipe(recipe.training, flips=train.flips, epochs=recipe.training_epochs)


def provenance(recipe: LabelRecipe, wise: Sequence[Teacher]) -> dict[str, Any]:
    """What a set says of its labels: the recipe, with which another set can be labelled alike, and the teachers."""
    # The teachers by the names that say what they are: where a file lay on this machine is nobody's business.
    named = dataclasses.replace(recipe, teachers="+".join(each.name for each in wise)) if wise else recipe
    return {**teachers.provenance(wise), "label_recipe": named.spec()}


def committee(recipe: LabelRecipe, wise: Sequence[Teacher], space: Preprocessing) -> Committee:
    """The teachers as a committee that answers to images in `space`, as the recipe says."""
    return Committee(
        tuple(Member(each.network, each.state, each.preprocessing) for each in wise),
        wise[0].shape,
        wise[0].n_classes,
        space,
        recipe.average,
        recipe.weights,
        recipe.statistics,
        recipe.temperature,
    )
