"""What one step of trajectory matching draws: an expert, a start epoch, minibatches, a disturbed start.

Everything is a function of the step and of generators derived from it, so that nothing has to be saved between steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from condense.errors import BadInput
from condense.experts import Experts
from condense.sending import send
from condense.unroll import Segment


@dataclass(frozen=True)
class Window:
    """The start epochs {lowest, ..., U - 1}, with U growing from `first` to `last` in the first `rise` steps.

    DATM (https://arxiv.org/abs/2310.05773), Sec. 4.1, in the form of the authors' code. MTT's window is `Window(T+)`.

    Raises:
        BadInput: when some step would have no epoch to start from.
    """

    last: int  # T+, exclusive
    lowest: int = 0  # T-
    first: int | None = None  # T, U of the first step; None: U = T+ from the start
    rise: int = 1  # R, steps until U reaches T+

    def __post_init__(self) -> None:
        first = self.last if self.first is None else self.first
        if not 0 <= self.lowest < first <= self.last:
            raise BadInput(
                f"start epochs need 0 <= T- < T <= T+, got T- = {self.lowest}, T = {first}, T+ = {self.last}"
            )
        if self.rise < 1:
            raise BadInput(f"the window must rise over at least one step, got {self.rise}")

    def upper(self, step: int) -> int:
        """U at a step: min(T+, T + floor((T+ - T) * step / R))."""
        if self.first is None:
            return self.last
        return min(self.last, self.first + (self.last - self.first) * step // self.rise)

    def draw(self, step: int, generator: torch.Generator) -> int:
        """A start epoch, each of the window's with the same probability."""
        return int(torch.randint(self.lowest, self.upper(step), (1,), generator=generator))

    def reach(self, epochs: int) -> int:
        """The last epoch of an expert that a segment of `epochs` epochs can end at."""
        return self.last - 1 + epochs


def expert_in_turn(count: int, step: int, rng: Callable[..., torch.Generator]) -> int:
    """The expert of a step: all of them in a shuffled order, then all of them in another one."""
    turn, place = divmod(step, count)
    return int(torch.randperm(count, generator=rng("experts", turn))[place])


def segment_between(pool: Experts, expert: int, start: int, epochs: int, steps: int) -> Segment:
    """From an expert's parameters after `start` epochs to those `epochs` later, for a student of N = `steps` steps."""
    return Segment.ending_at(pool.at(expert, start), pool.at(expert, start + epochs), steps)


def minibatches(count: int, batch: int | None, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Rows of the synthetic set for each step of a student: a permutation cut into chunks, then a new one.

    The last chunk of a permutation is short where `batch` does not divide `count`, as in MTT's code; None is all rows.
    Returns `steps` tensors (<= batch,) int64.
    """
    chunks: list[Tensor] = []
    while len(chunks) < steps:
        chunks += torch.randperm(count, generator=generator).split(batch or count)
    return chunks[:steps]


def halved(batch: int | None, count: int) -> int:
    """The images drawn for a step whose mirror images join them: b // 2, and b at most all `count` of them (FYI).

    Raises:
        BadInput: when nothing is left.
    """
    half = min(batch or count, count) // 2
    if half == 0:
        raise BadInput("mirror halves the batch to make room for the mirror images; raise batch to at least 2")
    return half


def perturbed(parts: Iterable[Tensor], strength: float, generator: torch.Generator) -> list[Tensor]:
    """Convolution weights W -> W + strength * d * W with d = N / ||N||, N standard normal; the rest as it is.

    AST (https://arxiv.org/abs/2310.10541), weight perturbation as in the authors' code: the norm is that of the whole
    weight, the product elementwise, and only tensors of four axes move. On average an entry changes by the fraction
    strength / sqrt(numel).
    """
    moved = []
    for weight in parts:
        if weight.ndim == 4:
            noise = send(torch.randn(weight.shape, generator=generator), weight.device, weight.dtype)
            weight = weight + strength * noise / noise.norm() * weight
        moved.append(weight)
    return moved
