"""The outer gradient with every step's graph alive: the plain chain of `autograd`, memory growing with the steps."""

from __future__ import annotations

import torch
from torch import Tensor

from condense.sending import send
from condense.unroll.inner import InnerLoop, Outer, Segment, batch_loss


def outer_loss(
    inner: InnerLoop, segment: Segment, images: Tensor, labels: Tensor, step_size: Tensor, half: bool
) -> Outer:
    """As `condense.unroll.outer_loss`."""
    with torch.enable_grad():
        parameters = segment.start.detach().requires_grad_()
        velocity = torch.zeros_like(parameters)
        loss = images.new_zeros(())
        for k, batch in enumerate(inner.batches):
            rows = send(batch, images.device)
            prepared, targets = inner.prepare(k, images[rows], labels[rows])
            value = inner.scale * batch_loss(inner.network, parameters, prepared, targets, half)
            (gradient,) = torch.autograd.grad(value, parameters, create_graph=True)
            velocity = inner.momentum * velocity + gradient
            parameters = parameters - step_size * velocity
            for match in segment.at(k + 1):
                loss = loss + segment.distance(match, parameters)
    return Outer(loss, parameters.detach())
