"""Sets of DATM (Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching", ICLR
2024): `images_best.pt`, `labels_best.pt` and `lr_best.pt`, in the folder given or in its sub-folder `Normal`.

By the published configurations the images are ZCA-whitened and the labels are logits that training puts through a
softmax; both can be stated otherwise.
"""

from __future__ import annotations

from condense.distilled.container import DistilledSet
from condense.distilled.foreign import (
    Request,
    are_distributions,
    as_labels,
    compose,
    in_space,
    require_folder,
    require_pairs,
)
from condense.distilled.tensor_files import read_number, read_sharded
from condense.errors import BadInput

SUMMARY = "images_best.pt, labels_best.pt (logits) and lr_best.pt, ZCA-whitened"


def read(request: Request) -> DistilledSet:
    """Imports the folder.

    Raises:
        BadInput: when the labels could be probabilities as well as logits and the form is not given.
    """
    given = require_folder(request, "images_best.pt", "labels_best.pt", "lr_best.pt")
    nested = given / "Normal"
    folder = nested if nested.is_dir() else given
    images, space = in_space(read_sharded(folder, "images_best"), request, stated="zca")
    values = read_sharded(folder, "labels_best")
    require_pairs(images, values, request)
    if request.label_form is None and are_distributions(values):
        raise BadInput(
            f"{folder}: DATM stores logits, but every row of the labels adds up to 1; say what they are with "
            "--label-form: probabilities or logits"
        )
    labels = as_labels(values, request, stated="logits" if values.ndim == 2 else None)
    return compose(request, "datm", images, space, labels, read_number(folder / "lr_best.pt"))
