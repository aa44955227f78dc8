"""The work of labelling: training who answers, and asking."""

from __future__ import annotations

from condense import networks, teachers
from condense.data import Split
from condense.distilled.labels import Codec
from condense.distilled.labels.committee import check_statistics
from condense.method import Cost
from condense.soft_labels.labelling import training_of
from condense.soft_labels.recipe import LabelRecipe

_CHUNK = 256  # images that are asked about at once


def cost(recipe: LabelRecipe, train: Split, images: int) -> Cost:
    """The work of `label` for so many images, as if no teacher were in the cache."""
    asking = answering_cost(recipe, train, images)
    if recipe.kind == "hard":
        return asking
    training = teachers.committee_cost(recipe.teachers, train, training_of(recipe, train))
    return Cost(
        operations=training.operations + asking.operations,
        shared_operations=training.operations,
        memory_bytes=max(training.memory_bytes, asking.memory_bytes),
        disk_bytes=asking.disk_bytes,
    )


def answering_cost(recipe: LabelRecipe, train: Split, images: int) -> Cost:
    """The work of `label` for so many images by teachers that are there.

    Raises:
        BadInput: for batch statistics where no teacher has batch norm.
    """
    if recipe.kind == "hard":
        return Cost(operations=0.0, memory_bytes=0.0)
    names = [name.partition("@")[0] for name in teachers.members(recipe.teachers)]
    works = [networks.work(name, train.shape, train.n_classes) for name in names]
    check_statistics(recipe.statistics, sum(work.batch_norms for work in works), names)
    if recipe.kind == "teacher":
        return Cost(operations=0.0, memory_bytes=0.0)
    answers = images if recipe.kind == "fixed" else images * recipe.crops * recipe.epochs
    operations = float(sum(work.operations for work in works)) * answers
    if recipe.ground_truth == "estimated":  # asked once more, and features of the images and of a tenth of the split
        operations += operations + float(works[0].operations) * (images + len(train) / 10)
    row = Codec(recipe.codec, recipe.k).nbytes(1, train.n_classes)
    epoch = images * recipe.crops * train.n_classes
    maps = max(work.activation_bytes for work in works)
    # Batch statistics are those of a group, or without groups of a whole step, which is asked about at once.
    grouped = recipe.kind == "regions" and recipe.statistics == "batch"
    together = max(_CHUNK, recipe.norm_group or recipe.batch) if grouped else _CHUNK
    return Cost(
        operations=operations,
        memory_bytes=max(float(together * maps), 8.0 * epoch if recipe.kind == "regions" else 0.0),
        disk_bytes=float(row * answers),
    )
