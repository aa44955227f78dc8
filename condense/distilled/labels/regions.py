"""Which region of which image every label of every epoch is for, as a rule that follows from a seed.

Shen & Xing, "A Fast Knowledge Distillation Framework for Visual Recognition", ECCV 2022, arXiv 2112.01528; mixed as by
Yin, Xing & Shen, "Squeeze, Recover and Relabel", NeurIPS 2023, arXiv 2306.13092.

Every draw is a function of (seed, epoch, image) or (seed, epoch, step), through numbers by counter. So no order of a
sampler, version of a library or size of a chunk moves a label to another view, and 24 bytes a view are not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from condense import stated
from condense.augment import Draw, Mix, RandomResizedCrop, mixing_from_spec
from condense.distilled.labels.counter import uniform
from condense.errors import BadInput

VERSION = 1  # of the rule below; stored labels of another version are refused
_ORDER, _BOX, _MIX, _PARTNER = range(4)  # purposes, one table of numbers each
_BOX_NUMBERS = 23  # that RandomResizedCrop draws for an image


def statistics_groups(samples: int, size: int) -> Tensor:
    """(samples,) int64, which of them share batch statistics; a last group of one joins the one before."""
    group = torch.arange(samples) // size
    if samples % size == 1 and samples > 1:
        group[-1] = group[-2]
    return group


@dataclass(frozen=True)
class Regions:
    """The rule from which every draw of every epoch follows.

    Args:
        count: N, images that the set stands for.
        shape: (C, H, W).
        batch: samples of a step.
        seed: the only source of the draws.
        scale, ratio, flip: as in `RandomResizedCrop`.
        mix: specification of a CutMix or MixUp of every step, or None.
        crops: regions of each image that stand side by side in a step (FKD: n_c); an epoch has N * crops samples.
        same_image: a region is mixed with the next one of its own image (FerKD: SelfMix), not with any of the step.
        norm_group: samples that share batch statistics, in the order of the step; None: all of the step do.

    Raises:
        BadInput: for numbers that do not fit each other.
    """

    count: int
    shape: tuple[int, int, int]
    batch: int
    seed: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    mix: Mapping[str, Any] | None = None
    crops: int = 1
    same_image: bool = False
    norm_group: int | None = None

    __pydantic_config__: ClassVar[ConfigDict] = stated.KNOWN_ONLY

    def __post_init__(self) -> None:
        for name in ("shape", "scale", "ratio"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._crop  # refuses intervals that are none  # noqa: B018
        if self.mix is not None and mixing_from_spec(self.mix).probability != 1.0:
            raise BadInput(f"regions are mixed in every step or in none, got {dict(self.mix)}; leave probability out")
        if min(self.count, self.batch, self.crops) < 1 or self.batch % self.crops:
            raise BadInput(
                f"a step holds whole images with all their crops: count={self.count}, batch={self.batch} and "
                f"crops={self.crops} must be at least 1, and the batch a multiple of the crops"
            )
        if self.same_image and (self.crops < 2 or self.mix is None):
            raise BadInput("mixing regions of one image needs a mix and at least two crops; set both")
        if self.norm_group is not None and self.norm_group < 2:
            raise BadInput(f"batch statistics need at least two samples, got norm_group={self.norm_group}")

    @cached_property
    def _crop(self) -> RandomResizedCrop:
        return RandomResizedCrop(self.scale, self.ratio, self.flip)

    @property
    def samples(self) -> int:
        """Of an epoch."""
        return self.count * self.crops

    @property
    def steps(self) -> int:
        """Of an epoch.  A last step of one image joins the one before: batch statistics of one sample are no use."""
        full, rest = divmod(self.samples, self.batch)
        return max(1, full + (rest > 1))

    def rows(self, step: int) -> slice:
        """The samples of a step within its epoch.

        Raises:
            BadInput: for a step that an epoch does not have.
        """
        if not 0 <= step < self.steps:
            raise BadInput(f"an epoch of these labels has {self.steps} steps, step {step} was asked")
        end = self.samples if step == self.steps - 1 else (step + 1) * self.batch
        return slice(step * self.batch, end)

    def order(self, epoch: int) -> Tensor:
        """The images of an epoch in the order of its steps, (count,) int64."""
        return uniform(self.seed, (_ORDER, epoch), self.count, 1)[:, 0].argsort(stable=True)

    def epoch(self, epoch: int) -> dict[str, Tensor]:
        """All draws for single samples, in the order of the steps: indices (n,), crop (n, 4), flip (n,)."""
        images = self.order(epoch).repeat_interleave(self.crops)
        crop, flip = self.views(epoch, 0, self.samples)  # by image, then crop
        own = images * self.crops + torch.arange(self.crops).repeat(self.count)
        return {"indices": images, "crop": crop[own], "flip": flip[own]}

    def views(self, epoch: int, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Boxes as fractions (count, 4) and mirrors (count,) of the regions first, first + 1, ... by image and crop."""
        draw = Draw(uniform(self.seed, (_BOX, epoch), count, _BOX_NUMBERS, first))
        height, width = self.shape[1:]
        boxes = self._crop.boxes((height, width), draw)
        fractions = boxes / torch.tensor([height, width, height, width], dtype=torch.float64)
        return fractions.float(), (draw.uniform[:, -1] < 0.5) & self.flip

    def mixed(self, epoch: int, step: int) -> Mix | None:
        """How the step is mixed."""
        if self.mix is None:
            return None
        rows = self.rows(step)
        size = rows.stop - rows.start
        if self.same_image:
            positions = torch.arange(size).view(-1, self.crops)
            partner = positions.roll(-1, dims=1).flatten()
        else:
            # The numbers of an epoch lie side by side by place; a place belongs to one step alone.
            partner = uniform(self.seed, (_PARTNER, epoch), size, 1, rows.start)[:, 0].argsort(stable=True)
        numbers = uniform(self.seed, (_MIX, epoch), 1, 3, step)[0].tolist()
        return mixing_from_spec(self.mix).at(numbers, partner, self.shape)

    def groups(self, step: int) -> Tensor | None:
        """(b,) which samples of the step share batch statistics; a last group of one sample joins the one before."""
        if self.norm_group is None:
            return None
        rows = self.rows(step)
        return statistics_groups(rows.stop - rows.start, self.norm_group)

    def spec(self) -> dict[str, Any]:
        """Plain JSON values, which `from_spec` reads."""
        names = ("count", "batch", "seed", "flip", "crops", "same_image", "norm_group")
        facts = {name: getattr(self, name) for name in names}
        lists = {name: list(getattr(self, name)) for name in ("shape", "scale", "ratio")}
        mix = None if self.mix is None else mixing_from_spec(self.mix).spec()
        return facts | lists | {"mix": mix, "version": VERSION}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Regions:
        """Reads what `spec` writes.

        Raises:
            BadInput: for draws by another version of the rule, or fields that are none of it.
        """
        fields = dict(spec)
        if (version := fields.pop("version", None)) != VERSION:
            raise BadInput(f"these labels follow version {version} of the drawing rule, this condense knows {VERSION}")
        rule: Regions = stated.read(cls, fields, "labels.regions")
        return rule
