"""Sets of KRR-ST's authors and of their baselines (Lee et al., "Self-Supervised Dataset Distillation for Transfer
Learning", ICLR 2024): a folder with `x_syn.pt` and `y_syn.pt`.

`y_syn` holds a target vector for each image (KRR-ST), soft labels (KIP, FRePo) or class numbers. A matrix could be
either of the first two, so its form has to be given.
"""

from __future__ import annotations

from condense.distilled.container import DistilledSet
from condense.distilled.foreign import Request, as_labels, compose, in_space, require_folder, require_pairs
from condense.distilled.tensor_files import read_tensor

SUMMARY = "x_syn.pt and y_syn.pt: target vectors for transfer, or labels"


def read(request: Request) -> DistilledSet:
    """Imports the folder; the pixel space has to be given."""
    folder = require_folder(request, "x_syn.pt", "y_syn.pt")
    images, space = in_space(read_tensor(folder / "x_syn.pt"), request)
    values = read_tensor(folder / "y_syn.pt")
    require_pairs(images, values, request)
    return compose(request, "selfsup", images, space, as_labels(values, request))
