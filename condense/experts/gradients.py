"""Gradients of an expert's loss with respect to all its parameters as one vector, in the forms that the recipes name.

A function of parameters (S, P) gives gradients (S, P), one row for each expert that is trained at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional as F

from condense.flat import FlatNetwork
from condense.training import Engine
from condense.training.sequential import compiled

Gradient = Callable[[Tensor], Tensor]  # parameters (S, P) -> gradients (S, P)

_TINY = 1e-12  # keeps a vanishing gradient from dividing by zero, as in the authors' code


@dataclass(frozen=True)
class Batch:
    """What one expert sees in a step."""

    images: Tensor  # (B, C, H, W), augmented
    target: Tensor  # (B,) int64
    clean: Tensor | None  # (B, C, H, W) before augmentation, where the recipe penalises the input gradient


def weighted_cross_entropy(
    parameters: Tensor, images: Tensor, target: Tensor, network: FlatNetwork, weight: Tensor, half: bool
) -> Tensor:
    """c * cross-entropy, for one expert.

    parameters: (P,).  images: (B, C, H, W).  target: (B,) int64.  weight: c, a scalar on the device; as a tensor its
    change from epoch to epoch compiles no new graph.  half: convolutions and products in bfloat16, their results and
    the loss in float32.
    """
    with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
        logits = network.call(parameters, images)
    return weight * F.cross_entropy(_at_least_float32(logits), target)


def input_penalty(network: FlatNetwork, parameters: Tensor, clean: Tensor, half: bool = False) -> Tensor:
    """AST's gradient penalty: mean over images i and pixels u, v of (|| d sum_c f_c(x_i) / d x_i[:, u, v] || - 1)^2.

    The norm runs over the channels of one pixel, and the images are not augmented (Shen et al., arXiv 2310.10541, the
    authors' `epoch_gp`).  clean: (B, C, H, W).  Differentiable with respect to `parameters` (P,).
    """

    def total(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            logits = network.call(parameters, images)
        return _at_least_float32(logits).sum()

    slope = grad(total)(clean)  # (B, C, H, W)
    norms: Tensor = torch.linalg.vector_norm(slope, dim=1)  # (B, H, W)
    return (norms - 1.0).square().mean()


def flat_gradient(gradient: Gradient, parameters: Tensor, rho: float, alpha: float, adaptive: bool) -> Tensor:
    """The GSAM step direction of FTD (Du et al., CVPR 2023), from two gradients on the same batch.

    With w the parameters, g the gradient at w, and all norms and products over one expert's whole vector:
        e = rho w^2 g / || |w| g ||  (adaptive),  or  rho g / ||g||
        h = gradient at w + e
        v = g - (<g, h> / (||g|| ||h||)) ||g|| h / ||h||,  the part of g orthogonal to h
        direction = h - alpha v

    `parameters` (S, P) are not changed, so there is nothing to undo.  alpha = 0 is adaptive SAM.
    """
    clean = gradient(parameters)  # g
    if adaptive:
        perturbation = rho * parameters.square() * clean / (_norm(parameters.abs() * clean) + _TINY)
    else:
        perturbation = rho * clean / (_norm(clean) + _TINY)
    perturbed = gradient(parameters + perturbation)  # h
    if alpha == 0.0:
        return perturbed
    along = (clean * perturbed).sum(dim=-1, keepdim=True) / (_norm(perturbed).square() + _TINY)
    return perturbed - alpha * (clean - along * perturbed)


class ExpertGradient:
    """Computes gradients for one batch of each expert, in the engine's way."""

    def __init__(self, network: FlatNetwork, penalty: float, engine: Engine):
        self._network = network
        self._penalty = penalty  # lambda
        self._half = engine.precision == "bfloat16"
        self._batched = engine.name == "batched"
        # The penalty stays uncompiled: TorchInductor's second derivative took 0.67 s and half a minute to build where
        # PyTorch's took 0.50 s (ConvNet-D3 of width 32, 256 images, one thread of an AMD EPYC).
        self._cross_entropy = compiled(weighted_cross_entropy) if engine.compile else weighted_cross_entropy

    def __call__(self, parameters: Tensor, batches: list[Batch], weight: Tensor) -> Tensor:
        """Gradients (S, P) at parameters (S, P)."""
        if self._batched:
            return self._together(parameters, batches, weight)
        rows = zip(parameters, batches, strict=True)
        return torch.stack([self._alone(row, batch, weight) for row, batch in rows])

    def loss(self, parameters: Tensor, images: Tensor, target: Tensor, clean: Tensor | None, weight: Tensor) -> Tensor:
        """c * cross-entropy + lambda * input penalty, for one expert; the fields of `Batch` one by one for vmap."""
        loss = self._cross_entropy(parameters, images, target, self._network, weight, self._half)
        if clean is not None:
            loss = loss + self._penalty * input_penalty(self._network, parameters, clean, self._half)
        return loss

    def _alone(self, parameters: Tensor, batch: Batch, weight: Tensor) -> Tensor:
        leaf = parameters.detach().requires_grad_()
        loss = self.loss(leaf, batch.images, batch.target, batch.clean, weight)
        (found,) = torch.autograd.grad(loss, leaf)
        return found

    def _together(self, parameters: Tensor, batches: list[Batch], weight: Tensor) -> Tensor:
        leaf = parameters.detach().requires_grad_()
        images = torch.stack([batch.images for batch in batches])  # (S, B, C, H, W)
        target = torch.stack([batch.target for batch in batches])
        penalised = [batch.clean for batch in batches if batch.clean is not None]
        clean = torch.stack(penalised) if penalised else None
        places = (0, 0, 0, None if clean is None else 0, None)
        losses: Tensor = vmap(self.loss, in_dims=places)(leaf, images, target, clean, weight)
        # The experts do not interact, so the gradient of the sum holds each one's own.
        (found,) = torch.autograd.grad(losses.sum(), leaf)
        return found


def _norm(vectors: Tensor) -> Tensor:
    """Norms (..., 1) of vectors (..., P)."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return norms


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
