"""What exporters share: the parts of a set that a foreign layout can hold, and a refusal for the others."""

from __future__ import annotations

from torch import Tensor

from condense.distilled.container import DistilledSet
from condense.distilled.labels import HardLabels, Representations, SoftLabels
from condense.distilled.views import PLAIN
from condense.errors import BadInput


def require_plain(distilled: DistilledSet, layout: str) -> None:
    """Refuses what a list of images with labels cannot express.

    Raises:
        BadInput: when the set stands for more images than it stores, or has extras.
    """
    if dict(distilled.expansion) != dict(PLAIN) or distilled.extras:
        raise BadInput(
            f"the format {layout} holds images and labels only; this set has {_surplus(distilled)}, "
            "which self-contained keeps"
        )


def label_values(distilled: DistilledSet, layout: str) -> Tensor:
    """The labels as one tensor with a row per image.

    Raises:
        BadInput: for replayed and teacher labels, which have no such form.
    """
    if not isinstance(distilled.labels, HardLabels | SoftLabels | Representations):
        raise BadInput(
            f"the format {layout} holds one label per image; this set has {distilled.labels.kind} labels, which "
            "self-contained keeps"
        )
    return distilled.labels.values.cpu()


def _surplus(distilled: DistilledSet) -> str:
    if distilled.extras:
        return f"extras ({', '.join(distilled.extras)})"
    return f"a view that is made from them ({distilled.expansion['kind']})"
