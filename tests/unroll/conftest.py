"""Small unrolled trainings, and how far two outer gradients lie apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from condense import networks
from condense.augment import DSA
from condense.flat import FlatNetwork
from condense.unroll import Engine, InnerLoop, Match, Prepare, Segment, outer_loss
from condense.unroll.inner import as_given


@dataclass(frozen=True)
class Problem:
    """A student, a segment of a made-up expert, and a synthetic set of 6 images of 3 classes."""

    network: str = "convnet-d2:width=4"
    dtype: torch.dtype = torch.float64
    soft: bool = True
    batches: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3, 4, 5),) * 3
    augmented: bool = False
    middle: bool = False  # a second match on the way
    inner: dict[str, Any] = field(default_factory=dict)
    step_size: float = 0.05
    seed: int = 0

    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images, labels (logits when soft), step size: the same values in every call."""
        rng = torch.Generator().manual_seed(self.seed)
        images = torch.randn(6, 3, 8, 8, generator=rng, dtype=torch.float64).to(self.dtype)
        logits = torch.randn(6, 3, generator=rng, dtype=torch.float64).to(self.dtype)
        labels = logits.requires_grad_() if self.soft else torch.tensor([0, 1, 2, 2, 1, 0])
        return images.requires_grad_(), labels, torch.tensor(self.step_size, dtype=self.dtype, requires_grad=True)

    def parts(self) -> tuple[InnerLoop, Segment]:
        rng = torch.Generator().manual_seed(self.seed + 1)
        module = networks.build(self.network, (3, 8, 8), 3, rng).to(self.dtype)
        network = FlatNetwork(module)
        start = network.flatten(module)
        steps = len(self.batches)

        def near(radius: float) -> Tensor:
            return start + radius * torch.randn(start.shape, generator=rng, dtype=torch.float64).to(self.dtype)

        matches = (Match(near(0.05), steps),)
        if self.middle:
            matches = (Match(near(0.03), max(1, steps // 2), weight=0.5), *matches)
        rows = [torch.tensor(batch) for batch in self.batches]
        prepare = _mirrored_and_augmented(self) if self.augmented else as_given
        return InnerLoop(network, rows, prepare, **self.inner), Segment(start, matches)

    def gradients(self, engine: Engine) -> list[Tensor]:
        """Outer gradients of images, logits (when soft) and step size, by one engine."""
        images, labels, step_size = self.leaves()
        inner, segment = self.parts()
        targets = labels.softmax(1) if self.soft else labels
        loss = outer_loss(inner, segment, images, targets, step_size, engine).loss
        return list(torch.autograd.grad(loss, [leaf for leaf in (images, labels, step_size) if leaf.requires_grad]))


def _mirrored_and_augmented(problem: Problem) -> Prepare:
    augment = DSA(one_op_per="sample")
    rng = torch.Generator().manual_seed(problem.seed + 2)
    draws = [augment.draw(2 * len(batch), (3, 8, 8), rng) for batch in problem.batches]

    def prepare(step: int, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        copies = torch.cat([images, images.flip(3)])
        return augment.apply(copies, draws[step]), torch.cat([targets, targets])

    return prepare


@pytest.fixture
def problem() -> type[Problem]:
    """problem(field=value, ...) -> a small unrolled training."""
    return Problem


def relative_gap(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest relative distance, over the gradients."""
    assert len(found) == len(expected)
    return max(float((ours - theirs).norm() / theirs.norm()) for ours, theirs in zip(found, expected, strict=True))


@pytest.fixture
def gap() -> Callable[[list[Tensor], list[Tensor]], float]:
    """gap(gradients, expected) -> their largest relative distance."""
    return relative_gap


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Another order of summation flips ReLUs, which moves the gradient of any engine by up to a hundredth."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
