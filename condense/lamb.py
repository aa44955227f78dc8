"""LAMB: Adam whose step is scaled, tensor by tensor, to the size of what it changes.

You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", ICLR 2020,
https://arxiv.org/abs/1904.00962, Alg. 2, with phi the identity and no weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class Lamb(torch.optim.Optimizer):
    """x <- x - lr |x| / |u| u, with u Adam's bias-corrected direction; where |x| or |u| is 0 the ratio counts as 1.

    Args:
        lr: eta, the relative change of a tensor's norm in one step.
        betas: beta_1, beta_2.
        eps: added to the root of the second moment.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step along the gradients that are there; a closure is not supported and must be None."""
        assert closure is None
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    self._step(tensor, group)

    def _step(self, tensor: Tensor, group: dict[str, float | tuple[float, float]]) -> None:
        state = self.state[tensor]
        if not state:
            state |= {"step": 0, "first": torch.zeros_like(tensor), "second": torch.zeros_like(tensor)}
        state["step"] += 1
        (beta1, beta2), eps = group["betas"], group["eps"]  # type: ignore[misc]
        first = state["first"].lerp_(tensor.grad, 1 - beta1)
        second = state["second"].mul_(beta2).addcmul_(tensor.grad, tensor.grad, value=1 - beta2)
        root = (second / (1 - beta2 ** state["step"])).sqrt_().add_(eps)
        update = (first / (1 - beta1 ** state["step"])).div_(root)
        size, length = tensor.norm(), update.norm()
        ratio = torch.where((size > 0) & (length > 0), size / length, 1.0)
        tensor.sub_(update.mul_(ratio * group["lr"]))
