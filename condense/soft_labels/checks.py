"""What a label recipe may not ask for: refused when it is stated, before any teacher is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from condense import teachers
from condense.errors import BadInput

if TYPE_CHECKING:
    from condense.soft_labels.recipe import LabelRecipe


def check_answers(recipe: LabelRecipe) -> None:
    """Refuses, with BadInput, what does not fit together of how teachers answer and how their answers are kept."""
    size = len(teachers.members(recipe.teachers)) if recipe.teachers else 0
    if recipe.weights is not None and (
        len(recipe.weights) != size or min(recipe.weights) < 0 or sum(recipe.weights) <= 0
    ):
        raise BadInput(f"give one weight of at least 0 for each of {size} teachers, got {recipe.weights}")
    if recipe.calibration is not None and not recipe.linear:
        raise BadInput("a calibration weighs answers against the class of one image; use linear=true")
    if recipe.calibration is not None and recipe.codec != "full":
        raise BadInput(f"a calibration leaves regions without a label, which codec={recipe.codec} cannot keep")
    if recipe.codec == "logits" and (recipe.linear or recipe.ground_truth > 0):
        raise BadInput(
            "codec=logits keeps logits, and answers that are mixed with others or with the class are "
            "probabilities; use another codec"
        )
    softened = recipe.average == "probabilities" and recipe.temperature != 1.0
    if recipe.kind == "regions" and softened and (recipe.calibration is not None or not recipe.linear):
        raise BadInput(
            "averaged probabilities at a temperature other than 1 are no logits for another temperature; average "
            "logits, or use linear=true without a calibration, or temperature 1"
        )
    if recipe.ground_truth > 0 and recipe.temperature != 1.0:
        raise BadInput(
            f"a class has no temperature, so that it is mixed with answers at temperature 1, got "
            f"{recipe.temperature:g}; use temperature=1, or ground_truth=0"
        )
    if recipe.kind == "fixed" and recipe.statistics == "batch":
        raise BadInput(
            "a fixed label that follows from batch statistics would depend on the images that happen to be asked "
            "about beside its own; use statistics=running, or labels for regions, whose groups are drawn"
        )
