"""The random numbers of one call of an augmentation, apart from the images, so that two batches can share them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from condense.errors import BadInput


@dataclass(frozen=True)
class Draw:
    """What was drawn; the augmentation that drew it turns it into parameters and applies them.

    uniform: (B, R) float64 on the CPU, R numbers in [0, 1) for each of B images; (1, R) when shared.
    op: which operation, one for all, or (B,) int64 on the CPU; None where there is no choice.
    shared: one draw for any number of images (siamese).
    """

    uniform: Tensor
    op: int | Tensor | None = None
    shared: bool = False

    def __len__(self) -> int:
        """Number of rows; a shared draw has one."""
        return len(self.uniform)

    def take(self, indices: Tensor) -> Draw:
        """The draw whose row i is row `indices[i]` of this one: (M,) labels make a draw per class one per image."""
        if self.shared:
            return self
        indices = indices.cpu()
        op = self.op[indices] if isinstance(self.op, Tensor) else self.op
        return replace(self, uniform=self.uniform[indices], op=op)

    def repeat_interleave(self, times: int) -> Draw:
        """Each row `times` times in a row: a draw per class for classes in blocks of `times` images."""
        return self.take(torch.arange(len(self)).repeat_interleave(times))

    def check_fits(self, images: Tensor) -> None:
        """Raises BadInput unless this draw can be applied to `images`, a floating-point batch (B, C, H, W), B > 0."""
        if images.ndim != 4 or not images.is_floating_point():
            raise BadInput(
                f"expected floating-point images (B, C, H, W), got {images.dtype} of shape {tuple(images.shape)}; "
                "preprocess and batch them first"
            )
        if not len(images):
            raise BadInput("there are no images to augment; give at least one")
        if not self.shared and len(self) != len(images):
            raise BadInput(
                f"the draw is for {len(self)} images, got {len(images)}; draw with count={len(images)} or shared=True"
            )


def uniform_rows(count: int, columns: int, generator: torch.Generator, shared: bool) -> Tensor:
    """(count, columns) numbers in [0, 1), or (1, columns) when shared.

    float64, so that r * n does not round up to n and floor(r * n) stays a valid index; on the CPU, so that the same
    generator gives the same augmentation on every device and in every precision.
    """
    return torch.rand(1 if shared else count, columns, generator=generator, dtype=torch.float64, device="cpu")


def whole(uniform: Tensor, outcomes: int | Tensor) -> Tensor:
    """Whole numbers drawn evenly from 0 .. outcomes - 1, as int64."""
    return (uniform * outcomes).long()
