"""Labelling by a recipe: takes the teachers from the cache or trains them, and has them answer for the images of a set.

Of the labels that a set has, the class of each image alone is used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from condense import teachers
from condense.data import Split
from condense.distilled import DistilledSet
from condense.distilled.labels import Codec, Committee, CommitteeLabels, HardLabels, Labels, Member
from condense.distilled.views import PlainView
from condense.errors import BadInput
from condense.preprocessing import Preprocessing, normalise
from condense.run import Run
from condense.soft_labels.calibration import Calibration
from condense.soft_labels.fixed import answers, fixed
from condense.soft_labels.images import Images
from condense.soft_labels.per_epoch import per_epoch
from condense.soft_labels.recipe import LabelRecipe
from condense.soft_labels.weighting import Weight, weight_by_teacher
from condense.teachers import Teacher
from condense.training import Recipe


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
    recipe, _ = settled(recipe, images, classes, train, space, run, wise=wise)
    answering = committee(recipe, wise, space)
    if recipe.kind == "teacher":
        return CommitteeLabels(answering, classes)
    codec = Codec(recipe.codec, recipe.k)
    if recipe.kind == "fixed":
        weight = float(recipe.ground_truth)
        return fixed(images, answering.to(run.device), codec=codec, classes=classes, ground_truth=weight)
    calibration = None if recipe.calibration is None else Calibration.from_spec(recipe.calibration)
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


def settled(
    recipe: LabelRecipe,
    images: Images,
    classes: Tensor | None,
    train: Split,
    space: Preprocessing,
    run: Run,
    *,
    wise: Sequence[Teacher],
) -> tuple[LabelRecipe, Weight | None]:
    """A recipe whose weight of the ground truth is a number, and the estimate that it is, if it was to be estimated.

    Arguments as those of `label`.

    Raises:
        BadInput: for an estimate without the class of each image.
    """
    if recipe.ground_truth != "estimated":
        return recipe, None
    if classes is None:
        raise BadInput("the weight of the class is estimated from the class of each image, which the set does not say")
    logits = answers(images, committee(recipe, wise, space).to(run.device))
    found = weight_by_teacher(images, classes, (logits / recipe.temperature).softmax(1), space, train, wise[0], run)
    return dataclasses.replace(recipe, ground_truth=found.value), found


def teachers_of(recipe: LabelRecipe, train: Split, run: Run) -> list[Teacher]:
    """The teachers of a recipe, from the cache or trained; none for hard labels."""
    if recipe.kind == "hard":
        return []
    training = training_of(recipe, train)
    return teachers.committee(recipe.teachers, train, normalise(train.mean, train.std), training, run)


def training_of(recipe: LabelRecipe, train: Split) -> Recipe:
    """How the recipe's teachers are trained."""
    return teachers.recipe(recipe.training, flips=train.flips, epochs=recipe.training_epochs)


def provenance(recipe: LabelRecipe, wise: Sequence[Teacher]) -> dict[str, Any]:
    """What a set says of its labels: the recipe, with which another set can be labelled alike, and the teachers."""
    # The teachers by the names that say what they are: where a file lay on this machine is nobody's business.
    if recipe.kind != "hard":
        recipe = dataclasses.replace(recipe, teachers="+".join(each.name for each in wise))
    return {**teachers.provenance(wise), "label_recipe": recipe.spec()}


def labelled(
    recipe: LabelRecipe,
    pixels: Tensor,
    classes: Tensor,
    wise: Sequence[Teacher],
    train: Split,
    space: Preprocessing,
    run: Run,
) -> DistilledSet:
    """A set of images (M, C, H, W) of classes (M,), labelled by a recipe, that tells of its teachers and labels."""
    labels = label(recipe, PlainView(pixels, space), classes, train, space, run, wise=wise)
    return DistilledSet.synthetic(pixels, labels, train, space, provenance=provenance(recipe, wise))


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
