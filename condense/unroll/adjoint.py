"""The outer gradient with one step's graph alive, and TESLA's approximation of it.

Forward sweep: theta_0 .. theta_N are stored (N * P numbers), no graph is. Backward sweep, k = N-1 .. 0, with
a = dL/dtheta_{k+1} and c = dL/dv_k as it arrives from v_{k+1}:

    w = c - step_size * a                  total derivative by v_k
    dL/dstep_size -= <a, v_k>
    dL/dbatch_k   += d<w, scale * g_k>/dbatch_k
    a             += d<w, scale * g_k>/dtheta_k  + the pull of a match after k steps
    c              = momentum * w

which is the chain rule, written out; every product with a Hessian comes out of one backward pass. Where memory is left
over, the graphs of the last steps are kept from the forward sweep and need not be built again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from condense.sending import send
from condense.unroll.inner import InnerLoop, Segment
from condense.unroll.steps import Pull, Step


@dataclass(frozen=True)
class Plan:
    """What is swept over, besides the tensors that get gradients.

    curvature: False is TESLA's gradient, which holds every theta_k constant when step k is differentiated.
    """

    inner: InnerLoop
    segment: Segment
    step: Step
    curvature: bool


class ConstantMemoryUnroll(torch.autograd.Function):
    """outer loss of (images, labels, step_size); the backward sweep runs when, and only when, backward is called."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, labels: Tensor, step_size: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
        inner, segment, step = plan.inner, plan.segment, plan.step
        path, velocities = [segment.start], list[Tensor]()
        step.begin(len(inner.batches))
        for k, batch in enumerate(inner.batches):
            rows = send(batch, images.device)
            prepared, targets = inner.prepare(k, images[rows], labels[rows])
            velocity = inner.scale * step.gradient(k, path[k], prepared, targets)
            if inner.momentum:
                velocity = velocity + inner.momentum * velocities[-1] if velocities else velocity
                velocities.append(velocity)
            path.append(path[k] - step_size * velocity)
        loss = sum((segment.distance(match, path[match.after]) for match in segment.matches), images.new_zeros(()))
        end = path[-1].clone()
        # As saved tensors, not as attributes: autograd then gives the path up when the backward sweep is done.
        ctx.save_for_backward(images, labels, step_size, *path, *velocities)
        ctx.plan = plan
        ctx.mark_non_differentiable(end)
        return loss, end

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        inner, segment = ctx.plan.inner, ctx.plan.segment
        images, labels, step_size, *saved = ctx.saved_tensors
        path, velocities = saved[: len(inner.batches) + 1], saved[len(inner.batches) + 1 :]
        image_gradient = torch.zeros_like(images)
        label_gradient = torch.zeros_like(labels) if labels.is_floating_point() else None
        step_size_gradient = torch.zeros_like(step_size)
        adjoint = torch.zeros_like(path[-1])  # a
        arriving = torch.zeros_like(path[-1])  # c
        for k in reversed(range(len(inner.batches))):
            for match in segment.at(k + 1):
                adjoint = adjoint + upstream * segment.pull(match, path[k + 1])
            if inner.momentum:
                direction, factor = arriving - step_size * adjoint, inner.scale  # w
            else:
                # w = -step_size * a: pulling along a gives <a, g_k> for the step size as well.
                direction, factor = adjoint, -step_size * inner.scale
            rows = send(inner.batches[k], images.device)
            pulled = _pull_batch(ctx.plan, k, path[k], images[rows], labels[rows], direction)
            step_size_gradient -= torch.dot(adjoint, velocities[k]) if inner.momentum else inner.scale * pulled.along
            image_gradient.index_add_(0, rows, factor * pulled.images)
            if label_gradient is not None and pulled.targets is not None:
                label_gradient.index_add_(0, rows, factor * pulled.targets)
            if pulled.parameters is not None:
                adjoint = adjoint + factor * pulled.parameters
            arriving = inner.momentum * direction
        return image_gradient, label_gradient, step_size_gradient, None


def _pull_batch(plan: Plan, k: int, parameters: Tensor, images: Tensor, labels: Tensor, direction: Tensor) -> Pull:
    """The derivatives of <direction, g_k>, through `prepare` back to the rows of the synthetic set."""
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        labels = labels.detach().requires_grad_(labels.is_floating_point())
        prepared, targets = plan.inner.prepare(k, images, labels)
    pulled = plan.step.pull(k, parameters, prepared.detach(), targets.detach(), direction, plan.curvature)
    outputs: list[Tensor] = [prepared]
    cotangents: list[Tensor] = [pulled.images]
    inputs: list[Tensor] = [images]
    if pulled.targets is not None:
        outputs, cotangents, inputs = [*outputs, targets], [*cotangents, pulled.targets], [*inputs, labels]
    found: Sequence[Tensor] = torch.autograd.grad(outputs, inputs, cotangents)
    return Pull(pulled.along, found[0], found[1] if len(found) > 1 else None, pulled.parameters)
