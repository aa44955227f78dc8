"""Label recipes by name: those of the methods that bring labels, for any other set to be labelled alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from condense import files
from condense.errors import UnknownName
from condense.soft_labels.recipe import LabelRecipe

_R18 = "resnet18:norm=batch"
_IMAGENET_R18 = "torchvision:resnet18@IMAGENET1K_V1"
_CVDD_SMALL = "resnet18:norm=batch+resnet50:norm=batch+shufflenet-v2:width=50+mobilenet-v2+densenet-121"
_CVDD_LARGE = "+".join(
    f"torchvision:{name}@IMAGENET1K_V1"
    for name in ("resnet18", "resnet50", "shufflenet_v2_x1_0", "mobilenet_v2", "densenet121")
)
_INFER_LARGE = "+".join(f"torchvision:{name}@IMAGENET1K_V1" for name in ("resnet18", "mobilenet_v2", "efficientnet_b0"))


def _votes(*priors: float) -> tuple[float, ...]:
    """Weights of CV-DD's committee: softmax of prior performance, in percent, over 10."""
    total = math.fsum(math.exp(prior / 10) for prior in priors)
    return tuple(math.exp(prior / 10) / total for prior in priors)


_CVDD = LabelRecipe(
    "regions",
    _CVDD_SMALL,
    training="cvdd-cifar",
    weights=_votes(63.0, 65.3, 68.5, 67.6, 67.4),
    statistics="batch",
    batch=16,
    norm_group=8,
)
_SMALL_COMMITTEE = "convnet-d2:norm=batch,width=16+convnet-d1:norm=batch,width=16"

# Priors of CV-DD as its scripts have them. Everything else as in the scripts of each paper.
RECIPES: Mapping[str, LabelRecipe] = {
    "hard": LabelRecipe("hard"),
    "sre2l-cifar": LabelRecipe("teacher", _R18, statistics="batch", temperature=30.0),
    "sre2l-tiny": LabelRecipe("teacher", _R18, training="sre2l-tiny"),
    "sre2l-imagenet": LabelRecipe("regions", _IMAGENET_R18),
    "cda-imagenet": LabelRecipe("regions", _IMAGENET_R18, batch=128),
    "rded-cifar": LabelRecipe("teacher", _R18),
    "rded-tiny": LabelRecipe("teacher", _R18, training="sre2l-tiny"),
    "rded-imagenet": LabelRecipe("teacher", _IMAGENET_R18),
    "cvdd-cifar10": _CVDD,
    "cvdd-cifar100": replace(_CVDD, weights=_votes(64.0, 60.6, 51.6, 59.4, 56.4)),
    "cvdd-tiny": replace(_CVDD, training="cvdd-tiny", training_epochs=50, weights=_votes(46.5, 28.3, 43.6, 44.8, 41.5)),
    "cvdd-imagenet": replace(_CVDD, teachers=_CVDD_LARGE, weights=_votes(56.4, 42.3, 52.5, 44.2, 40.6)),
    "infer-cifar": LabelRecipe(
        "fixed", "resnet18:norm=batch+mobilenet-v2+efficientnet-b0+shufflenet-v2", temperature=30.0
    ),
    "infer-imagenet": LabelRecipe("fixed", _INFER_LARGE),
    # For two cores and images of about 8 pixels; `quick-replay` judges the first of them.
    "quick-replay": LabelRecipe(
        "regions",
        _SMALL_COMMITTEE,
        training="tiny-images",
        training_epochs=15,
        temperature=4.0,
        epochs=100,
        batch=50,
        min_scale=0.5,
    ),
    "quick-fixed": LabelRecipe("fixed", _SMALL_COMMITTEE, training="tiny-images", training_epochs=15, temperature=4.0),
}


def read(name: str | Path) -> LabelRecipe:
    """A recipe by its name, or from a JSON file as `LabelRecipe.spec` describes it.

    Raises:
        UnknownName: with the nearest names.
        BadInput, DamagedFile: for a file that is none.
    """
    if str(name).endswith(".json"):
        return LabelRecipe.from_spec(files.read_json(name))
    if str(name) not in RECIPES:
        raise UnknownName("label recipe", str(name), RECIPES)
    return RECIPES[str(name)]
