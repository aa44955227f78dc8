"""The outer gradient by the `higher` library, as a textbook would unroll it: the oracle of the other engines.

Grefenstette et al., "Generalized Inner Loop Meta-Learning", 2019, https://arxiv.org/abs/1910.01727.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from condense.sending import send
from condense.unroll.inner import InnerLoop, Outer, Segment


def outer_loss(
    inner: InnerLoop, segment: Segment, images: Tensor, labels: Tensor, step_size: Tensor, half: bool
) -> Outer:
    """As `condense.unroll.outer_loss`."""
    import higher

    student = inner.network.module(segment.start)
    descent = torch.optim.SGD(student.parameters(), lr=1.0, momentum=inner.momentum)
    loss = images.new_zeros(())
    override = {"lr": [step_size]}
    with torch.enable_grad(), higher.innerloop_ctx(student, descent, override=override) as (unrolled, differentiable):
        for k, batch in enumerate(inner.batches):
            rows = send(batch, images.device)
            prepared, targets = inner.prepare(k, images[rows], labels[rows])
            with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
                logits = unrolled(prepared)
            differentiable.step(inner.scale * F.cross_entropy(logits.float() if half else logits, targets))
            parameters = torch.cat([parameter.reshape(-1) for parameter in unrolled.parameters()])
            for match in segment.at(k + 1):
                loss = loss + segment.distance(match, parameters)
        return Outer(loss, parameters.detach())
