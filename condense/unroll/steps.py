"""One inner step and its transpose: the two things that an adjoint sweep asks of a network.

Words: g is the gradient of a batch's loss by the parameters theta, (P,). A *direction* is a vector (P,) that the
backward sweep brings along; a *pull* is what comes of it, the derivatives of the scalar <direction, g>: by the images,
by the targets, and by theta, where it is the Hessian times the direction. The scalar itself is called *along*.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
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
    """How the arithmetic of one unrolled training is carried out: `begin`, N gradients, then N pulls in reverse."""

    def begin(self, steps: int) -> None:
        """A training of so many steps follows; what was kept of another one is given up."""
        ...

    def gradient(self, k: int, parameters: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        """g (P,) of the prepared batch of step k."""
        ...

    def pull(
        self, k: int, parameters: Tensor, images: Tensor, targets: Tensor, direction: Tensor, curvature: bool
    ) -> Pull:
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
    """Uncompiled: the gradient with a graph, differentiated again.

    graph_bytes: memory for graphs that stay from the forward to the backward sweep: those of the last steps, as many
        as fit, by the size of the first one. They are used first and are gone when earlier ones are rebuilt.
    """

    def __init__(self, network: FlatNetwork, half: bool, graph_bytes: int = 0):
        self._network = network
        self._half = half
        self._graph_bytes = graph_bytes
        self.begin(0)

    def begin(self, steps: int) -> None:
        self._kept: dict[int, Graph] = {}
        self._steps = steps
        self._keep_from = steps

    def gradient(self, k: int, parameters: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        if k == 0 and self._graph_bytes:
            graph, size = _measured(lambda: self._graph(parameters, images, targets))
            self._keep_from = max(0, self._steps - self._graph_bytes // max(size, 1))
        elif k >= self._keep_from:
            graph = self._graph(parameters, images, targets)
        else:
            with torch.enable_grad():
                leaf = parameters.detach().requires_grad_()
                return torch.autograd.grad(batch_loss(self._network, leaf, images, targets, self._half), leaf)[0]
        if k >= self._keep_from:
            self._kept[k] = graph
        return graph.gradient.detach()

    def pull(
        self, k: int, parameters: Tensor, images: Tensor, targets: Tensor, direction: Tensor, curvature: bool
    ) -> Pull:
        with torch.enable_grad():
            graph = self._kept.pop(k) if k in self._kept else self._graph(parameters, images, targets)
            return graph.pull(direction, curvature)

    def _graph(self, parameters: Tensor, images: Tensor, targets: Tensor) -> Graph:
        with torch.enable_grad():
            parameters = parameters.detach().requires_grad_()
            images = images.detach().requires_grad_()
            targets = targets.detach().requires_grad_(targets.is_floating_point())
            loss = batch_loss(self._network, parameters, images, targets, self._half)
            (gradient,) = torch.autograd.grad(loss, parameters, create_graph=True)
        return Graph(gradient, parameters, images, targets)


def _measured(build: Callable[[], Graph]) -> tuple[Graph, int]:
    """A graph, and the bytes of all tensors that it holds when it is built."""
    saved: list[weakref.ref[Tensor]] = []

    def remember(tensor: Tensor) -> Tensor:
        alone = tensor.detach()  # the tensor itself would hold the node that saves it: a cycle that nobody frees
        saved.append(weakref.ref(alone))
        return alone

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        graph = build()
    # What was freed while it was built does not count, nor twice what took its place.
    storages = [tensor.untyped_storage() for held in saved if (tensor := held()) is not None]
    return graph, sum({storage._cdata: storage.nbytes() for storage in storages}.values())
