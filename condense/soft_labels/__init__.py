"""Making labels: who answers, for which views, and in how many bytes. The kinds themselves are in `distilled.labels`.

per_epoch(images, regions, committee, epochs, run)   answers for drawn regions, streamed to disk (FKD, SRe2L, CV-DD)
fixed(images, committee)                             one answer for each image (INFER)
label(recipe, images, classes, train, space, run)    labels of any set by a recipe that is data
Calibration, optimal_weight, mixed                   which answers to trust, and how much (FerKD; Borup & Andersen)
read_fkd(folder, orders)                             stores of other projects
"""

from __future__ import annotations

from condense.soft_labels.calibration import Calibration, softened
from condense.soft_labels.costs import answering_cost, cost
from condense.soft_labels.fixed import answers, fixed
from condense.soft_labels.foreign import read_fkd, sampler_orders
from condense.soft_labels.labelling import label, labelled, provenance, settled, teachers_of
from condense.soft_labels.per_epoch import per_epoch, step_images
from condense.soft_labels.recipe import Kind as LabelKind
from condense.soft_labels.recipe import LabelRecipe
from condense.soft_labels.recipes import RECIPES, read
from condense.soft_labels.weighting import (
    Weight,
    class_weights,
    estimate_weight,
    mixed,
    optimal_weight,
    regressed_weight,
    weight_by_teacher,
)

__all__ = [
    "RECIPES",
    "Calibration",
    "LabelKind",
    "LabelRecipe",
    "Weight",
    "answering_cost",
    "answers",
    "class_weights",
    "cost",
    "estimate_weight",
    "fixed",
    "label",
    "labelled",
    "mixed",
    "optimal_weight",
    "per_epoch",
    "provenance",
    "read",
    "read_fkd",
    "regressed_weight",
    "sampler_orders",
    "settled",
    "softened",
    "step_images",
    "teachers_of",
    "weight_by_teacher",
]
