"""Target data: opened in the shape of the source, normalised, and cut to a share of the labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from condense.data import Dataset, Split
from condense.data.names import parse
from condense.errors import BadInput
from condense.preprocessing import Preprocessing, normalise
from condense.run.randomness import generator


def in_shape(name: str, shape: tuple[int, int, int], load: Callable[[str], Dataset]) -> Dataset:
    """The data set `name` with the adapters that make its images (C, H, W) = `shape`.

    Grey images get three channels for a source in colour, and images of another size are resized, unless the name says
    a size itself.

    Raises:
        BadInput: for colour images and a grey source, or a name whose own size is another.
    """
    channels, height, width = shape
    request = parse(name)
    size = "" if request.size else f"@{height}x{width}"
    found = load(name + size)
    if found.shape[0] == 1 and channels == 3 and not request.colour:
        found = load(f"{name}+rgb{size}")
    if found.shape[0] != channels:
        raise BadInput(
            f"{name} has {found.shape[0]} channels, the source {channels}; distil the source in colour, as digits+rgb"
        )
    if tuple(found.shape) != tuple(shape):
        raise BadInput(f"{name} has images of {tuple(found.shape)}, the source of {tuple(shape)}; leave out its @size")
    return found


def target_space(target: Split, source: Preprocessing | None) -> Preprocessing:
    """The pixel space in which a start meets the target.

    Networks that saw normalised images see the target by its own mean and deviation, as the papers do. A set in another
    space (whitened, or plain pixels) takes the target through its own preprocessing, because that is what its networks
    know.
    """
    if source is None or source.kind == "normalise":
        return normalise(target.mean, target.std)
    return source


def labelled_rows(target: Split, share: float, seed: int) -> Tensor:
    """Rows of the training images whose labels may be used: round(share * n) of each class, and at least one.

    Smaller shares are parts of larger ones. Ascending int64; the same for every start.
    """
    if share == 1.0:
        return torch.arange(len(target))
    rows = []
    for label in range(target.n_classes):
        members = target.of_class(label)
        order = torch.randperm(len(members), generator=generator("transfer labels", target.fingerprint, seed, label))
        rows.append(members[order[: max(1, round(share * len(members)))]])
    return torch.cat(rows).sort().values
