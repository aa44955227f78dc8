"""Label stores of other projects: FKD files as SRe2L, CDA, LPLD and CV-DD write them.

`<store>/epoch_<e>/batch_<b>.tar` is one `torch.save` of [crop (B, 4), flip (B,), partner (B,), weight, box, logits
(B, K)]; crop is top, left, height, width as fractions, box the rows and columns [first, first, end, end] of the patch
taken from the partner, or None for a MixUp. Which images a batch holds is not stored: the authors' loader draws the
order again, from a sampler with a seed. It has to be given here, and is stored with the labels.

The files are pickles. They are read as plain tensors and numbers alone; code in them is never run.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condense.distilled.labels import ReplayedLabels
from condense.distilled.labels.ranges import misfit
from condense.distilled.labels.regions import statistics_groups
from condense.distilled.tensor_files import read_plain
from condense.errors import BadInput, DamagedFile

_FIELDS = 6
_SIDES = 4


def read_fkd(
    folder: str | Path, orders: Sequence[Tensor], *, classes: Tensor | None = None, norm_group: int | None = None
) -> ReplayedLabels:
    """Replayed labels from a folder of FKD files, one epoch in memory at a time.

    Args:
        folder: holds `epoch_0`, `epoch_1`, ...
        orders: for each epoch the images in the order of its batches, (n,) int64; `sampler_orders` gives the authors'.
        classes: (N,) the class that each image was made for, where there is one.
        norm_group: samples that share batch statistics in training, which the files do not say: 8 for those of CV-DD,
            whose teacher answered so; None: all of a step.

    Raises:
        BadInput: for a group of fewer than two samples, a folder without such files, or orders that do not fit them.
        DamagedFile: naming the first file that holds something else.
    """
    if norm_group is not None and norm_group < 2:
        raise BadInput(f"batch statistics need at least two samples, got norm_group={norm_group}; leave it out for all")
    store = _Folder(Path(folder), tuple(orders), norm_group)
    return ReplayedLabels(store, store.batch, classes=classes)


def sampler_orders(count: int, epochs: int, seed: int = 42) -> list[Tensor]:
    """The orders of `epochs` passes of PyTorch's RandomSampler over `count` images, as the authors' scripts draw them.

    They follow from the PyTorch that is installed; one that draws otherwise gives labels to the wrong images. Check
    that labels and images agree before anything is concluded from them.
    """
    generator = torch.Generator().manual_seed(seed)
    sampler = torch.utils.data.RandomSampler(range(count), generator=generator)
    return [torch.tensor(list(sampler)) for _ in range(epochs)]


@dataclass(frozen=True)
class _Folder:
    """The epochs of a folder, each read when it is asked for."""

    folder: Path
    orders: tuple[Tensor, ...]
    norm_group: int | None

    def __post_init__(self) -> None:
        found = len(_numbered(self.folder, "epoch_", ""))
        if found == 0 or len(self.orders) != found:
            raise BadInput(
                f"{self.folder} holds {found} epochs epoch_0, epoch_1, ..., and {len(self.orders)} orders were given; "
                "give the folder of the label files, and an order for each epoch"
            )

    @functools.cached_property
    def batch(self) -> int:
        """Samples of the first step."""
        return len(_read(self._batches(0)[0])[0])

    def __len__(self) -> int:
        return len(self.orders)

    def read(self, index: int) -> dict[str, Tensor]:
        """One epoch, as `ReplayedLabels` takes it."""
        paths = self._batches(index)
        steps = [_fields(path) for path in paths]
        self._check(paths, steps)
        epoch = {name: torch.cat([step[name] for step in steps]) for name in steps[0]}
        if len(epoch["target"]) != len(self.orders[index]):
            raise BadInput(
                f"{self.folder / f'epoch_{index}'} holds labels of {len(epoch['target'])} samples, the order given has "
                f"{len(self.orders[index])}; give the order that the labels were made in"
            )
        if self.norm_group is not None:
            groups = [statistics_groups(len(step["target"]), self.norm_group) for step in steps]
            epoch["norm_group"] = torch.cat(groups)
        return epoch | {"indices": self.orders[index].long()}

    def _check(self, paths: Sequence[Path], steps: Sequence[Mapping[str, Tensor]]) -> None:
        """Refuses files of one epoch that are not of one labelling, naming one."""
        for path, step in zip(paths, steps, strict=True):
            if len(step["target"]) != self.batch and path != paths[-1]:
                raise BadInput(
                    f"{path} holds {len(step['target'])} samples where the first file has {self.batch}; only the last "
                    "of an epoch may be short, since partners are counted within a file"
                )
            if step.keys() != steps[0].keys():
                mixed, plain = (path, paths[0]) if "partner" in step else (paths[0], path)
                raise BadInput(
                    f"the samples of {mixed} are mixed and those of {plain} are not, so that they are of two "
                    "labellings; restore the epoch from a copy"
                )

    def _batches(self, index: int) -> list[Path]:
        found = _numbered(self.folder / f"epoch_{index}", "batch_", ".tar")
        if not found:
            raise BadInput(f"{self.folder / f'epoch_{index}'} holds no batch_0.tar; restore the epoch from a copy")
        return found


def _numbered(folder: Path, prefix: str, suffix: str) -> list[Path]:
    """The entries <prefix>0<suffix>, <prefix>1<suffix>, ... in the order of their numbers.

    Raises:
        BadInput: naming the first that is missing.
    """
    pattern = re.compile(rf"{re.escape(prefix)}(\d+){re.escape(suffix)}")
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    numbers = {int(match[1]): path for path in entries if (match := pattern.fullmatch(path.name))}
    for number in range(len(numbers)):
        if number not in numbers:
            raise BadInput(f"{folder} lacks {prefix}{number}{suffix}, although it holds a later one; fetch it")
    return [numbers[number] for number in range(len(numbers))]


def _fields(path: Path) -> dict[str, Tensor]:
    """One step in the names and shapes of `ReplayedLabels`."""
    crop, flip, partner, weight, box, logits = _read(path)
    step = {"crop": crop.float(), "flip": flip.bool(), "target": logits}
    if partner is None:
        return step
    top, left, bottom, right = (0, 0, 0, 0) if box is None else (int(side) for side in box)
    # A CutMix may cut a box of no pixels, and a box without area stands for MixUp in a store: nothing was mixed then.
    empty = box is not None and (bottom - top) * (right - left) == 0
    return step | {
        "partner": partner.long(),
        "mix_weight": torch.tensor([1.0 if empty else float(weight)]),
        "mix_box": torch.tensor([[top, left, bottom - top, right - left]]),
    }


def _read(path: Path) -> list[Any]:
    content = read_plain(path)
    if problem := _problem(content):
        raise DamagedFile(path, f"not a batch of FKD labels: {problem}")
    return list(content)


def _problem(content: Any) -> str | None:
    if not isinstance(content, list | tuple) or len(content) != _FIELDS:
        return f"expected a list of {_FIELDS}, found {type(content).__name__}"
    crop, flip, partner, weight, box, logits = content
    if not all(isinstance(part, Tensor) for part in (crop, flip, logits)):
        return "crop, flip and logits are tensors"
    if flip.ndim != 1:
        return f"flip {tuple(flip.shape)}, expected one for each image"
    count = len(flip)
    if tuple(crop.shape) != (count, 4) or logits.ndim != 2 or len(logits) != count or not logits.is_floating_point():
        return f"crop {tuple(crop.shape)} and logits {tuple(logits.shape)} for {count} images"
    if crop.is_complex() or flip.is_complex():
        return "crop and flip are real numbers"
    if found := misfit("crop", crop) or misfit("logits", logits):
        return f"it {found}"
    return None if partner is None else _mix_problem(partner, weight, box, count)


def _mix_problem(partner: Any, weight: Any, box: Any, count: int) -> str | None:
    if not isinstance(partner, Tensor) or partner.ndim != 1 or sorted(partner.tolist()) != list(range(count)):
        return "the partners are no permutation of the batch"
    if not isinstance(weight, int | float | np.integer | np.floating) or not 0 <= weight <= 1:
        return f"the weight is a number in [0, 1], found {weight!r}"
    if box is None:
        return None
    if not isinstance(box, list | tuple) or len(box) != _SIDES or not all(isinstance(s, int | np.integer) for s in box):
        return f"the box has four sides in whole numbers, or is None, found {box!r}"
    top, left, bottom, right = box
    return None if 0 <= top <= bottom and 0 <= left <= right else f"the box {tuple(box)} ends before it begins"
