"""How teachers are trained, by name: `recipe("sre2l-cifar", flips=True)`."""

from __future__ import annotations

from collections.abc import Mapping

from condense import augment
from condense.errors import UnknownName
from condense.training import Recipe, Schedule

_SHIFTS = {"kind": "crop-flip", "padding": 4, "flip": True}
_CROPS = {"kind": "random-resized-crop", "scale": [0.08, 1.0], "ratio": [3 / 4, 4 / 3], "flip": True}

RECIPES: Mapping[str, Recipe] = {
    # SRe2L, squeeze script for CIFAR-100.
    "sre2l-cifar": Recipe(
        epochs=200, batch=128, lr=0.1, weight_decay=5e-4, schedule=Schedule("cosine"), augment=_SHIFTS
    ),
    # SRe2L, squeeze script for Tiny-ImageNet: few epochs, because a teacher trained longer inverts worse. Theirs warms
    # up from a hundredth of the rate, ours from 0.
    "sre2l-tiny": Recipe(
        epochs=50, batch=256, lr=0.2, weight_decay=1e-4, schedule=Schedule("cosine", warmup=5), augment=_CROPS
    ),
    # CV-DD, squeeze script for CIFAR-10 and CIFAR-100.
    "cvdd-cifar": Recipe(
        epochs=200,
        batch=512,
        optimiser="adam",
        lr=1e-3,
        weight_decay=1e-4,
        schedule=Schedule("cosine"),
        augment=_SHIFTS,
    ),
    # CV-DD, squeeze script for Tiny-ImageNet; schedule and augmentation are not stated.
    "cvdd-tiny": Recipe(epochs=50, batch=128, lr=0.01, weight_decay=1e-4, schedule=Schedule("cosine"), augment=_CROPS),
    # Ours: a network that is good enough after a few epochs, for two cores.
    "short": Recipe(
        epochs=15, batch=128, lr=0.1, nesterov=True, weight_decay=5e-4, schedule=Schedule("one-cycle"), augment=_SHIFTS
    ),
    # Ours, for images of about 8 pixels, where a shift by 4 would leave nothing of the object.
    "tiny-images": Recipe(
        epochs=20,
        batch=64,
        lr=0.05,
        nesterov=True,
        weight_decay=5e-4,
        schedule=Schedule("one-cycle"),
        augment=_SHIFTS | {"padding": 1},
    ),
}


def recipe(name: str, *, flips: bool, epochs: int | None = None) -> Recipe:
    """A recipe by name.

    Args:
        flips: whether a mirror image keeps its class; if not, flips leave the augmentation.
        epochs: another number of epochs than the recipe's; a warm-up keeps its share.

    Raises:
        UnknownName: for a name that is not in `RECIPES`.
    """
    if name not in RECIPES:
        raise UnknownName("teacher recipe", name, RECIPES)
    found = RECIPES[name]
    if epochs is not None and epochs != found.epochs:
        warmup = found.schedule.warmup * epochs // found.epochs
        found = found.replace(epochs=epochs, schedule=Schedule(found.schedule.kind, warmup=warmup))
    if flips or found.augment is None:
        return found
    return found.replace(augment=augment.from_spec(found.augment).without_flip().spec())
