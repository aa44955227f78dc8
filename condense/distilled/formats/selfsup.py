"""Sets of KRR-ST's authors and of their baselines (Lee et al., "Self-Supervised Dataset Distillation for Transfer
Learning", ICLR 2024): a folder with `x_syn.pt` and `y_syn.pt`.

`y_syn` holds a target vector for each image (KRR-ST), soft labels (KIP, FRePo) or class numbers. A matrix with as many
columns as there are classes could be either of the first two, so its form has to be given.
"""

from __future__ import annotations

from torch import Tensor

from condense.distilled.container import DistilledSet
from condense.distilled.foreign import Request, as_labels, compose, in_space
from condense.distilled.labels import Labels, Representations
from condense.distilled.tensor_files import read_tensor
from condense.errors import BadInput

SUMMARY = "x_syn.pt and y_syn.pt: target vectors for transfer, or labels"


def read(request: Request) -> DistilledSet:
    """Imports the folder; the pixel space has to be given."""
    images, space = in_space(read_tensor(request.source / "x_syn.pt"), request)
    values = read_tensor(request.source / "y_syn.pt")
    if len(values) != len(images):
        raise BadInput(f"{request.source}: {len(images)} images came with {len(values)} targets; are both of one run?")
    return compose(request, "selfsup", images, space, _targets(values, request))


def _targets(values: Tensor, request: Request) -> Labels:
    vectors = values.ndim == 2 and values.shape[1] != request.dataset.train.n_classes
    if not vectors:
        return as_labels(values, request)
    if request.label_form is not None:
        raise BadInput(
            f"{request.source}: --label-form {request.label_form} was given, but each image has a vector of "
            f"{values.shape[1]} numbers, which is no label of {request.dataset.train.n_classes} classes"
        )
    return Representations(values.float())
