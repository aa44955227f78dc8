"""One inner step and its transpose: the two things that an adjoint sweep asks of a network."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from condense.flat import FlatNetwork
from condense.unroll.inner import batch_loss


class Pull(NamedTuple):
    """Derivatives of <direction, g(theta, images, targets)>, g the gradient of the batch's loss by theta."""

    along: Tensor  # the product itself, a scalar
    images: Tensor  # (b', C, H, W)
    targets: Tensor | None  # (b', K), None for classes
    parameters: Tensor | None  # (P,), the Hessian times the direction; None when it was not asked for


class Step(Protocol):
    """How the arithmetic of one inner step is carried out."""

    def gradient(self, parameters: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        """g (P,) of a prepared batch."""
        ...

    def pull(self, parameters: Tensor, images: Tensor, targets: Tensor, direction: Tensor, curvature: bool) -> Pull:
        """The derivatives of <direction, g>; those by the parameters only with `curvature`."""
        ...


class Graph(NamedTuple):
    """A step's gradient with the graph that leads to it."""

    gradient: Tensor
    parameters: Tensor
    images: Tensor
    targets: Tensor

    def pull(self, direction: Tensor, curvature: bool) -> Pull:
        """The derivatives of <direction, g>; the graph is used up."""
        soft = self.targets.is_floating_point()
        along = torch.dot(self.gradient, direction)
        wanted = [self.images, *([self.targets] if soft else []), *([self.parameters] if curvature else [])]
        found = list(torch.autograd.grad(along, wanted))
        parameters = found.pop() if curvature else None
        return Pull(along.detach(), found[0], found[1] if soft else None, parameters)


class DoubleBackward:
    """Uncompiled: the gradient with a graph, differentiated again."""

    def __init__(self, network: FlatNetwork, half: bool):
        self._network = network
        self._half = half

    def graph(self, parameters: Tensor, images: Tensor, targets: Tensor) -> Graph:
        """The gradient of a prepared batch together with its graph."""
        with torch.enable_grad():
            parameters = parameters.detach().requires_grad_()
            images = images.detach().requires_grad_()
            targets = targets.detach().requires_grad_(targets.is_floating_point())
            loss = batch_loss(self._network, parameters, images, targets, self._half)
            (gradient,) = torch.autograd.grad(loss, parameters, create_graph=True)
        return Graph(gradient, parameters, images, targets)

    def gradient(self, parameters: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        with torch.enable_grad():
            parameters = parameters.detach().requires_grad_()
            loss = batch_loss(self._network, parameters, images, targets, self._half)
            return torch.autograd.grad(loss, parameters)[0]

    def pull(self, parameters: Tensor, images: Tensor, targets: Tensor, direction: Tensor, curvature: bool) -> Pull:
        with torch.enable_grad():
            return self.graph(parameters, images, targets).pull(direction, curvature)
