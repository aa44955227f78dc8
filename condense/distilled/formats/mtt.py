"""Sets of MTT (Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022) and of the many
methods built on its code: a folder with `images_best.pt` and `labels_best.pt`, or numbered shards of both.

The layout states neither the pixel space (normalised or ZCA, by the run's flag) nor, usually, the learned step size.
"""

from __future__ import annotations

from condense.distilled.container import DistilledSet
from condense.distilled.foreign import Request, as_labels, compose, in_space, require_folder, require_pairs
from condense.distilled.tensor_files import read_number, read_sharded

SUMMARY = "images_best.pt and labels_best.pt, or numbered shards; lr_best.pt where it is there"


def read(request: Request) -> DistilledSet:
    """Imports the folder; the pixel space has to be given."""
    folder = require_folder(request, "images_best.pt", "labels_best.pt")
    images, space = in_space(read_sharded(folder, "images_best"), request)
    values = read_sharded(folder, "labels_best")
    require_pairs(images, values, request)
    step_size = folder / "lr_best.pt"
    return compose(
        request,
        "mtt",
        images,
        space,
        as_labels(values, request),
        read_number(step_size) if step_size.exists() else None,
    )
