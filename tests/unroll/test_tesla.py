"""TESLA's gradient against its own formula, and what it drops against the exact gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from condense.errors import BadInput
from condense.unroll import Engine, outer_loss


def published(given: Any) -> list[torch.Tensor]:
    """The two passes of TESLA, written from the formula (Cui et al., eq. 8 to 10), apart from the engine's code.

    Pass 1 sums the gradients, G. Pass 2 differentiates, step by step with theta_k and G held constant,
    s_k = 2 / D * <beta * (target - start) + beta² * G, g_k>.
    """
    inner, segment = given.parts()
    images, logits, step_size = given.leaves()
    (match,) = segment.matches
    beta = step_size.detach()

    def gradient(parameters: torch.Tensor, step: int, graph: bool) -> torch.Tensor:
        rows = inner.batches[step]
        batch, targets = inner.prepare(step, images[rows], logits.softmax(1)[rows])
        loss = inner.scale * F.cross_entropy(inner.network.call(parameters, batch), targets)
        return torch.autograd.grad(loss, parameters, create_graph=graph)[0]

    path, total = [segment.start.clone().requires_grad_()], torch.zeros_like(segment.start)
    for step in range(len(inner.batches)):
        found = gradient(path[-1], step, graph=False)
        total = total + found
        path.append((path[-1] - beta * found).detach().requires_grad_())
    distance = (segment.start - match.target).square().sum()
    constant = beta * (match.target - segment.start) + beta**2 * total
    images_gradient, logits_gradient = torch.zeros_like(images), torch.zeros_like(logits)
    for step in range(len(inner.batches)):
        share = 2 / distance * torch.dot(constant, gradient(path[step], step, graph=True))
        for sum_of, part in zip(
            (images_gradient, logits_gradient), torch.autograd.grad(share, [images, logits]), strict=True
        ):
            sum_of += part
    loss = (segment.start - step_size * total - match.target).square().sum() / distance
    return [images_gradient, logits_gradient, *torch.autograd.grad(loss, step_size)]


@pytest.mark.parametrize("case", [{}, {"augmented": True, "batches": ((0, 3, 5), (1, 2, 4)) * 3}])
def test_it_is_the_published_two_passes(problem: Any, gap: Any, case: dict[str, Any]) -> None:
    given = problem(**case)
    assert gap(given.gradients(Engine("tesla")), published(given)) < 1e-9


def test_one_step_leaves_nothing_to_drop(problem: Any, gap: Any) -> None:
    given = problem(batches=((0, 1, 2, 3, 4, 5),))
    assert gap(given.gradients(Engine("tesla")), given.gradients(Engine())) < 1e-12


def test_what_it_drops_grows_with_the_step_size(problem: Any, gap: Any) -> None:
    """The part that is dropped is of first order in the step size."""
    bias = [
        gap(given.gradients(Engine("tesla")), given.gradients(Engine()))
        for given in (problem(step_size=size) for size in (1e-4, 1e-3))
    ]
    assert 1e-6 < bias[0] < bias[1]
    assert bias[1] / bias[0] == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize("case", [{"inner": {"momentum": 0.9}}, {"middle": True}])
def test_it_refuses_what_it_is_not_defined_for(problem: Any, case: dict[str, Any]) -> None:
    given = problem(**case)
    inner, segment = given.parts()
    images, labels, step_size = given.leaves()
    with pytest.raises(BadInput, match="tesla knows plain descent and one match after the last step"):
        outer_loss(inner, segment, images, labels.softmax(1), step_size, Engine("tesla"))
