"""What does not fit together of labels: refused when a recipe states it, before any teacher is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from condense import teachers
from condense.distilled.labels.committee import Average, check_weights
from condense.distilled.labels.quantised import Kind as CodecKind
from condense.errors import BadInput

if TYPE_CHECKING:
    from condense.soft_labels.recipe import LabelRecipe


def check_answers(recipe: LabelRecipe) -> None:
    """Refuses, with BadInput, what does not fit together of how teachers answer and how their answers are kept."""
    size = len(teachers.members(recipe.teachers)) if recipe.teachers else 0
    if recipe.weights is not None:
        check_weights(recipe.weights, size)
    if recipe.codec == "logits" and (recipe.linear or recipe.ground_truth != 0 or recipe.average == "probabilities"):
        raise BadInput(
            "codec=logits keeps logits, and answers that are averaged as probabilities, or mixed with others or with "
            "the class, are none; use another codec"
        )
    if recipe.kind == "regions":
        check_regions(recipe.average, recipe.temperature, recipe.linear, recipe.calibration is not None, recipe.codec)
    if recipe.ground_truth != 0 and recipe.temperature != 1.0:
        raise BadInput(
            f"a class has no temperature, so that it is mixed with answers at temperature 1, got "
            f"{recipe.temperature:g}; use temperature=1, or ground_truth=0"
        )
    if recipe.kind == "fixed" and recipe.statistics == "batch":
        raise BadInput(
            "a fixed label that follows from batch statistics would depend on the images that happen to be asked "
            "about beside its own; use statistics=running, or labels for regions, whose groups are drawn"
        )


def check_regions(average: Average, temperature: float, linear: bool, calibrated: bool, codec: CodecKind) -> None:
    """Refuses, with BadInput, answers for regions that could not be kept or weighed as they are asked for.

    linear: unmixed regions are asked about and the answers mixed.  calibrated: answers that are not sure are changed.
    """
    if calibrated and not linear:
        raise BadInput("a calibration weighs answers against the class of one image; use linear=true")
    if calibrated and codec != "full":
        raise BadInput(f"a calibration leaves regions without a label, which codec={codec} cannot keep")
    if calibrated and average == "probabilities" and temperature != 1.0:
        raise BadInput(
            "a calibration asks how certain an answer is at temperature 1, which averaged probabilities at another one "
            f"do not say; average logits, or use temperature=1 instead of {temperature:g}"
        )
