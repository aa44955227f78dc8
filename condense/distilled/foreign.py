"""What every importer needs: an explicit pixel space, labels that are what they say, and where the set came from.

Published files rarely state their pixel space or the form of their labels, and a wrong guess shows only as accuracy at
chance level. So nothing is guessed: it is stated by the layout, or by whoever imports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from condense import preprocessing
from condense.distilled.container import DistilledSet
from condense.distilled.labels import HardLabels, Labels, Representations, SoftLabels
from condense.distilled.tensor_files import require_dense
from condense.errors import BadInput

if TYPE_CHECKING:
    from condense.data import Dataset
    from condense.preprocessing import Preprocessing

SPACES = ("raw01", "uint8", "normalised", "zca")
LABEL_FORMS = ("hard", "probabilities", "logits", "vectors")
_SPACE_HINT = (
    "say which with --space: raw01 (floats in [0, 1]), uint8 (0 to 255), normalised (by mean and deviation of the "
    "training split) or zca (whitened)"
)
_FORM_HINT = (
    "say what they are with --label-form: hard, probabilities, logits, or vectors (targets for transfer, no classes)"
)
_RAW_SLACK = 1e-3


@dataclass(frozen=True)
class Request:
    """An import as asked for.

    Args:
        source: the foreign file or folder.
        dataset: the real data that the set was made from; gives classes, shape and statistics.
        space: pixel space of the images, one of `SPACES`; None when the layout states it.
        label_form: one of `LABEL_FORMS`; None when it is plain from the file.
        step_size: the learned step size, for layouts that do not store it.
        method, title, seed: what the set is called in tables; None takes the name of the layout.
        cache_dir: where whitening matrices are kept.
    """

    source: Path
    dataset: Dataset
    space: str | None = None
    label_form: str | None = None
    step_size: float | None = None
    method: str | None = None
    title: str | None = None
    seed: int = 0
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        if self.space is not None and self.space not in SPACES:
            raise BadInput(f"unknown pixel space {self.space!r}; {_SPACE_HINT}")
        if self.label_form is not None and self.label_form not in LABEL_FORMS:
            raise BadInput(f"unknown label form {self.label_form!r}; {_FORM_HINT}")
        if not self.source.exists():
            raise BadInput(f"{self.source} does not exist; give the file or folder to import")


def in_space(images: Tensor, request: Request, stated: str | None = None) -> tuple[Tensor, Preprocessing]:
    """Images as a set stores them, and the preprocessing that goes with them.

    images: (M, C, H, W) as found.  stated: the space that the layout itself states, if it does.

    Raises:
        BadInput: when the space is neither stated nor given, or the values contradict it.
    """
    train = request.dataset.train
    require_images(images, request)
    space = request.space or stated or ("uint8" if images.dtype == torch.uint8 else None)
    if space is None:
        raise BadInput(f"{request.source} does not state the pixel space of its images; {_SPACE_HINT}")
    _check_values(images, space, request.source)
    if space == "zca":
        return images, preprocessing.fit("zca", train, cache_dir=request.cache_dir)
    normalised = preprocessing.normalise(train.mean, train.std)
    if space == "uint8":
        return images.to(torch.uint8), normalised
    return (normalised.forward(images) if space == "raw01" else images), normalised


def require_images(images: Tensor, request: Request) -> None:
    """Refuses, with BadInput, what are no images of the data set: dense, real, (M, C, H, W) with M of at least 1."""
    require_dense(images, request.source)
    shape = request.dataset.train.shape
    if images.ndim != 4 or tuple(images.shape[1:]) != shape:
        raise BadInput(
            f"{request.source}: {request.dataset.name} has images of (C, H, W) = {shape}, found an array of "
            f"{tuple(images.shape)}; name the data set that the images were made from"
        )


def _check_values(images: Tensor, space: str, source: Path) -> None:
    low, high = float(images.min()), float(images.max())
    found = f"found {low:.4g} to {high:.4g} of {str(images.dtype).removeprefix('torch.')}"
    whole = not images.is_floating_point() or bool((images == images.round()).all())
    if space == "uint8":
        if not whole or low < 0 or high > 255:
            raise BadInput(f"{source}: uint8 pixels are whole numbers in [0, 255], {found}; {_SPACE_HINT}")
        return
    if not images.is_floating_point():
        raise BadInput(f"{source}: images in the space {space} are floating-point numbers, {found}; {_SPACE_HINT}")
    if space == "raw01" and (low < -_RAW_SLACK or high > 1 + _RAW_SLACK):
        raise BadInput(f"{source}: raw01 pixels lie in [0, 1], {found}; {_SPACE_HINT}")
    if space != "raw01" and low >= 0:
        # Both spaces are centred: without a negative value the images were never brought there.
        raise BadInput(f"{source}: {space} images have values below 0, {found}; {_SPACE_HINT}")


def require_folder(request: Request, *names: str) -> Path:
    """The source where it is a folder.

    Raises:
        BadInput: for a file, such as one of those that the layout consists of.
    """
    if not request.source.is_dir():
        raise BadInput(f"{request.source} is a file; give the folder that holds {' and '.join(names)}")
    return request.source


def require_pairs(images: Tensor, values: Tensor, request: Request) -> None:
    """Refuses, with BadInput, labels that are no dense, real tensor, or not one for each image."""
    require_dense(values, request.source)
    found = f"{len(values)} labels" if values.ndim else "a single number"
    if values.ndim == 0 or len(values) != len(images):
        raise BadInput(
            f"{request.source}: {len(images)} images came with {found}; give all files of one run, every shard of them"
        )


def as_labels(values: Tensor, request: Request, stated: str | None = None) -> Labels:
    """Labels of the form given, stated, or plain from the values: a vector of whole numbers is hard.

    Raises:
        BadInput: for a matrix whose form is not known, floating-point or one-hot values where classes are expected, or
            numbers that are out of range.
    """
    classes = request.dataset.train.n_classes
    if request.label_form == "vectors":
        return _vectors(values, request)
    if values.ndim == 2 and values.shape[1] != classes:
        raise BadInput(
            f"{request.source}: {request.dataset.name} has {classes} classes, the labels have {values.shape[1]} "
            "columns; name the data set that they were made for, or say --label-form vectors if they are no classes"
        )
    if values.ndim not in (1, 2):
        raise BadInput(f"{request.source}: labels are a vector or a matrix, found {tuple(values.shape)}")
    form = request.label_form or stated
    if values.ndim == 1:
        return HardLabels(_class_numbers(values, form, request), classes)
    if form is None:
        kind = "one-hot rows" if _is_one_hot(values) else f"a matrix of {str(values.dtype).removeprefix('torch.')}"
        raise BadInput(f"{request.source}: the labels are {kind}; {_FORM_HINT}")
    if form == "hard":
        if not _is_one_hot(values):
            raise BadInput(f"{request.source}: label form hard, but the rows are not one-hot; {_FORM_HINT}")
        return HardLabels(values.argmax(1), classes)
    soft = values if values.is_floating_point() else values.float()
    return SoftLabels(soft, "probabilities" if form == "probabilities" else "logits")


def _vectors(values: Tensor, request: Request) -> Representations:
    if values.ndim != 2 or values.shape[1] < 2 or not values.is_floating_point():
        found = f"{tuple(values.shape)} of {str(values.dtype).removeprefix('torch.')}"
        raise BadInput(
            f"{request.source}: target vectors are floating-point rows of two numbers or more, found {found}"
        )
    return Representations(values.float())


def _class_numbers(values: Tensor, form: str | None, request: Request) -> Tensor:
    if form in ("probabilities", "logits"):
        raise BadInput(f"{request.source}: label form {form}, but the labels are one number per image; {_FORM_HINT}")
    if not values.is_floating_point():
        return values
    if form != "hard" or not bool((values == values.round()).all()):
        raise BadInput(
            f"{request.source}: the labels are a vector of floating-point numbers; if they are class numbers, say "
            "--label-form hard"
        )
    return values.long()


def _is_one_hot(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all() and (values.sum(1) == 1).all())


def are_distributions(values: Tensor) -> bool:
    """Whether every row could be probabilities: none negative, sums of 1."""
    return bool(values.ndim == 2 and (values >= 0).all() and ((values.double().sum(1) - 1).abs() < 1e-2).all())


def compose(
    request: Request,
    layout: str,
    images: Tensor,
    space: Preprocessing,
    labels: Labels,
    step_size: float | None = None,
) -> DistilledSet:
    """The set, with what is known of where it came from."""
    if step_size is not None and request.step_size is not None and step_size != request.step_size:
        raise BadInput(
            f"{request.source} stores the step size {step_size:g}, {request.step_size:g} was given; drop one"
        )
    return DistilledSet.synthetic(
        images,
        labels,
        request.dataset.train,
        space,
        step_size=request.step_size if step_size is None else step_size,
        provenance=_provenance(request, layout, len(images), labels),
    )


def _provenance(request: Request, layout: str, count: int, labels: Labels) -> dict[str, Any]:
    method = request.method or layout
    return {
        "method": method,
        "title": request.title or method,
        "kind": "synthetic",
        "preset": None,
        "config": {"layout": layout, "space": request.space, "label_form": request.label_form},
        "seed": request.seed,
        "budget": _budget(count, labels, request.dataset.train.n_classes),
        "dataset": {"name": request.dataset.name, "fingerprint": request.dataset.fingerprint},
        "trained_on": "not stated",
        "engine": {},
        "stops": {},
        "volatile": {"licence": request.dataset.licence},
    }


def _budget(count: int, labels: Labels, classes: int) -> dict[str, int]:
    """Images per class when every class has as many, or when soft labels leave that open; otherwise a total."""
    if isinstance(labels, HardLabels):
        per_class = torch.bincount(labels.values, minlength=classes)
        return {"ipc": int(per_class[0])} if bool((per_class == per_class[0]).all()) else {"total": count}
    return {"ipc": count // classes} if count % classes == 0 else {"total": count}


@dataclass(frozen=True)
class Probed:
    """How a small network, trained on an imported set, classifies real training images."""

    correct: int
    total: int
    chance: float  # share of the largest class

    @property
    def accuracy(self) -> float:
        return self.correct / self.total

    @property
    def at_chance(self) -> bool:
        """Whether three standard errors do not separate the accuracy from guessing."""
        return self.accuracy <= self.chance + 3 * (self.chance * (1 - self.chance) / self.total) ** 0.5

    def __str__(self) -> str:
        numbers = (
            f"{100 * self.accuracy:.1f} % of {self.total} real training images, guessing {100 * self.chance:.1f} %"
        )
        if self.at_chance:
            return f"probe: {numbers}; NO BETTER THAN GUESSING: check the pixel space, the label order and the data set"
        return f"probe: {numbers}"


# Given the set bound to its training split; returns (correct, total). The caller brings it, since a training recipe
# belongs to whoever trains: `lambda imported: (42, 100)` is a valid probe.
Probe = Callable[[DistilledSet], tuple[int, int]]


def probed(imported: DistilledSet, dataset: Dataset, probe: Probe) -> Probed:
    """Runs the probe."""
    correct, total = probe(imported.bind(dataset.train))
    counts = dataset.train.class_counts()
    return Probed(correct, total, max(counts) / sum(counts))
