"""What is unrolled: the student's training on the synthetic set, and the expert's parameters it is to arrive at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from condense.errors import BadInput
from condense.flat import FlatNetwork

# prepare(step, images (b, C, H, W), targets (b,) or (b, K)) -> the batch that the network is trained on, (b', ...) both
Prepare = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]


def as_given(step: int, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The batch as it is."""
    return images, targets


@dataclass(frozen=True)
class InnerLoop:
    """N steps of gradient descent: v_k = momentum * v_{k-1} + scale * g_k and theta_{k+1} = theta_k - step_size * v_k.

    g_k is the gradient of the mean cross-entropy over the prepared batch k.

    Attributes:
        network: the student's architecture.
        batches: rows of the synthetic set in each of the N steps, (b,) int64 on the CPU.
        prepare: augmentation and mirrored copies of a batch. It is called again in the backward sweep and must give
            the same batch for the same step: draw beforehand. Differentiable in images and in float targets.
        momentum: of the heavy ball, 0 for MTT, 0.9 for AST.
        scale: factor of every inner loss (AST's balance).
        copies: images that `prepare` makes of each one; 2 with mirrored copies.
    """

    network: FlatNetwork
    batches: Sequence[Tensor]
    prepare: Prepare = as_given
    momentum: float = 0.0
    scale: float = 1.0
    copies: int = 1

    def __post_init__(self) -> None:
        if not self.batches:
            raise BadInput("an inner loop needs at least one step; give the rows of each batch")
        if not 0.0 <= self.momentum < 1.0:
            raise BadInput(f"momentum of the inner loop must lie in [0, 1), got {self.momentum!r}")

    @property
    def largest(self) -> int:
        """Images of the largest prepared batch."""
        return self.copies * max(len(batch) for batch in self.batches)


@dataclass(frozen=True)
class Match:
    """A place where the student is compared with the expert.

    Attributes:
        target: the expert's parameters (P,).
        after: number of inner steps that the student has made then, 1 to N.
        weight: of this distance in the outer loss.
    """

    target: Tensor
    after: int
    weight: float = 1.0


@dataclass(frozen=True)
class Segment:
    """A piece of an expert's trajectory: where the student starts (P,), and what it is compared with on its way.

    The outer loss is the sum over matches of weight * ||theta_after - target||^2 / ||start - target||^2.

    Raises:
        BadInput: without a match, or with a target that is the start itself.
    """

    start: Tensor
    matches: tuple[Match, ...]

    def __post_init__(self) -> None:
        if not self.matches:
            raise BadInput("a segment needs at least one match to compare the student with")
        for match in self.matches:
            if match.target.shape != self.start.shape:
                raise BadInput(
                    f"start and target must be equally long, got {self.start.numel()} and {match.target.numel()}"
                )
            if torch.equal(match.target, self.start):
                raise BadInput("the target equals the start: there is no distance to measure by; take other epochs")

    @classmethod
    def ending_at(cls, start: Tensor, target: Tensor, steps: int) -> Segment:
        """One match, after the last of `steps` inner steps, as in MTT."""
        return cls(start, (Match(target, steps),))

    def at(self, steps_done: int) -> list[Match]:
        """The matches after this many steps."""
        return [match for match in self.matches if match.after == steps_done]

    def distance(self, match: Match, parameters: Tensor) -> Tensor:
        """The match's term of the outer loss.  A scalar."""
        gap = (parameters - match.target).square().sum()
        return match.weight * gap / (self.start - match.target).square().sum()

    def pull(self, match: Match, parameters: Tensor) -> Tensor:
        """The derivative of `distance` by the parameters (P,)."""
        whole = (self.start - match.target).square().sum()
        return (parameters - match.target) * (2.0 * match.weight / whole)


class Outer(NamedTuple):
    """What an unrolled training came to."""

    loss: Tensor  # scalar; its backward reaches images, float labels and step size
    end: Tensor  # theta_N, (P,), detached


def batch_loss(network: FlatNetwork, parameters: Tensor, images: Tensor, targets: Tensor, half: bool) -> Tensor:
    """Mean cross-entropy of a prepared batch.  half: convolutions and products in bfloat16, the loss in float32.

    targets: (b,) int64 classes or (b, K) probabilities.
    """
    with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
        logits = network.call(parameters, images)
    return F.cross_entropy(logits.float() if half else logits, targets)


def check(inner: InnerLoop, segment: Segment, images: Tensor, labels: Tensor, step_size: Tensor) -> None:
    """Raises BadInput unless the parts of an unrolled training fit each other."""
    steps = len(inner.batches)
    if segment.start.shape != (inner.network.size,):
        raise BadInput(f"the network has {inner.network.size} parameters, the segment {segment.start.numel()}")
    wrong = [match.after for match in segment.matches if not 1 <= match.after <= steps]
    if wrong:
        raise BadInput(f"a match lies after 1 to {steps} inner steps, got {wrong[0]}")
    if len(images) != len(labels):
        raise BadInput(f"expected one label for each image, got {len(images)} images and {len(labels)} labels")
    if step_size.dim():
        raise BadInput(f"the step size must be a scalar tensor, got shape {tuple(step_size.shape)}")
    if segment.start.dtype != images.dtype:
        raise BadInput(f"images are {images.dtype}, parameters {segment.start.dtype}; give both in one dtype")
