"""Inner steps compiled: forward-over-reverse differentiation, a few images at a time.

The derivative of <direction, g> is the derivative of g along the direction, which a forward sweep of dual numbers
through the backward pass gives without a graph; one sweep yields the products with every second derivative. Batches
are cut into pieces whose maps stay in the processor's cache: the loss is a sum over images, and so are its derivatives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from condense.flat import FlatNetwork
from condense.unroll.lowered import LoweredConvNet
from condense.unroll.steps import Pull

# The first maps of this many images take 10 MB at 32 pixels and width 128; a pass over those of 100 images ran at half
# the speed of one over 20, and at a third of one over 10 (AMD EPYC, 32 MB of third-level cache).
_PIECE = 20
# Graphs that a process may build, a few for each architecture and size of piece.
_GRAPHS = 512

Build = Callable[[Callable[..., Any]], Callable[..., Any]]


class _Piece(NamedTuple):
    """Some rows of a batch; beyond its end the images are black and weigh nothing."""

    images: Tensor  # (rows, C, H, W), a leaf where a gradient is asked for
    targets: Tensor  # (rows, K) probabilities
    weights: Tensor  # (rows,) of each image's loss
    used: int  # rows that belong to the batch


class Compiled:
    """One inner step of a ConvNet, for pieces of `rows` images.

    half: products in bfloat16.
    build: makes machine code of a function; by default TorchInductor does.

    Raises:
        BadInput: for a network other than the ConvNet.
    """

    def __init__(self, network: FlatNetwork, half: bool, rows: int, build: Build | None = None):
        build = build or _graph
        self._network = LoweredConvNet(network, half)
        self._classes = network.shapes["classifier.bias"][0]
        self._rows = rows
        self._slope = build(torch.func.grad(self._of_patches))
        self._dual = build(self._along)

    def begin(self, steps: int) -> None:
        pass  # no graph is ever kept

    def gradient(self, k: int, parameters: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = parameters.detach().requires_grad_()
            lowered = self._network.lower(leaf)
        values = _detached(lowered)
        total = [torch.zeros_like(value) for value in values]
        for piece in self._pieces(images, targets):
            patches = self._network.patches(piece.images).contiguous()
            torch._foreach_add_(total, self._slope(values, patches, piece.targets, piece.weights))
        return torch.autograd.grad(lowered, leaf, total)[0]

    def pull(
        self, k: int, parameters: Tensor, images: Tensor, targets: Tensor, direction: Tensor, curvature: bool
    ) -> Pull:
        with torch.enable_grad():
            leaf = parameters.detach().requires_grad_()
            lowered = self._network.lower(leaf)
        values, along = _detached(lowered), images.new_zeros(())
        heading = self._network.lower(direction)  # the lowered form is linear in the parameters
        total = [torch.zeros_like(value) for value in values]
        by_images, by_targets = [], []
        for piece in self._pieces(images, targets):
            with torch.enable_grad():
                pixels = piece.images.requires_grad_()
                patches = self._network.patches(pixels).contiguous()
            found = self._dual(values, heading, patches.detach(), piece.targets, piece.weights)
            torch._foreach_add_(total, found.parameters)
            along = along + found.along
            by_images.append(torch.autograd.grad(patches, pixels, found.patches)[0][: piece.used])
            by_targets.append(found.targets[: piece.used])
        return Pull(
            along,
            torch.cat(by_images),
            torch.cat(by_targets) if targets.is_floating_point() else None,
            torch.autograd.grad(lowered, leaf, total)[0] if curvature else None,
        )

    def _pieces(self, images: Tensor, targets: Tensor) -> Iterator[_Piece]:
        batch = len(images)
        if not targets.is_floating_point():
            targets = F.one_hot(targets, self._classes).to(images.dtype)
        for begin in range(0, batch, self._rows):
            part, wanted = images[begin : begin + self._rows], targets[begin : begin + self._rows]
            missing = self._rows - len(part)
            weights = part.new_zeros(self._rows)
            weights[: len(part)] = 1.0 / batch
            padded = F.pad(part, (0, 0, 0, 0, 0, 0, 0, missing)).detach()
            yield _Piece(padded, F.pad(wanted, (0, 0, 0, missing)), weights, len(part))

    def _objective(self, lowered: list[Tensor], first: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Cross-entropy, summed with the weights.  first: the maps behind the first convolution."""
        logits = self._network.logits(lowered, first)
        # Not `dot`: its forward derivative by a constant is a tensor without memory, which compiled code reads.
        return -(weights * (targets * logits.log_softmax(1)).sum(1)).sum()

    def _of_patches(self, lowered: list[Tensor], patches: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return self._objective(lowered, self._network.product(patches, lowered[0]), targets, weights)

    def _along(
        self, lowered: list[Tensor], heading: list[Tensor], patches: Tensor, targets: Tensor, weights: Tensor
    ) -> _Dual:
        def slopes(rest: list[Tensor], first: Tensor) -> Any:
            derivatives = torch.func.grad_and_value(self._objective, argnums=(0, 1, 2))
            return derivatives([lowered[0], *rest], first, targets, weights)

        # The first layer by hand: patches are constant along the direction, and a compiler multiplies zeros.
        product = self._network.product
        first, first_along = product(patches, lowered[0]), product(patches, heading[0])
        pair: Any = torch.func.jvp(slopes, (lowered[1:], first), (heading[1:], first_along))
        (slope, _), (change, along) = pair
        by_rest, by_first, by_targets = change
        by_weight = product(patches.flatten(0, 2).T, by_first.flatten(0, 2))
        by_patches = product(by_first, lowered[0].T) + product(slope[1], heading[0].T)
        return _Dual(along, [by_weight, *by_rest[1:]], by_patches, by_targets)


class _Dual(NamedTuple):
    """How the loss and its derivatives change along a direction of the parameters."""

    along: Tensor
    parameters: list[Tensor]
    patches: Tensor
    targets: Tensor


@functools.lru_cache(maxsize=16)
def compiled_step(network: FlatNetwork, half: bool, largest: int) -> Compiled:
    """The compiled step for batches of up to `largest` images, kept so that later calls find its graphs.

    Pieces are of one size, so that every batch runs through one pair of graphs, and as even as `largest` allows.
    """
    pieces = -(-largest // _PIECE)
    return Compiled(network, half, -(-largest // pieces))


def _detached(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.detach() for tensor in tensors]


def _graph(function: Callable[..., Any]) -> Callable[..., Any]:
    import torch._dynamo

    graph = torch.compile(function, fullgraph=True, dynamic=False)

    def call(*arguments: Any) -> Any:
        # A process may meet many networks; each is one entry of the compiler's cache, not a fault to give up on.
        with torch._dynamo.config.patch(recompile_limit=_GRAPHS, accumulated_recompile_limit=_GRAPHS):
            return graph(*arguments)

    return call
