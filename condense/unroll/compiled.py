"""Inner steps compiled: forward-over-reverse differentiation, a few images at a time.

The derivative of <direction, g> is the derivative of g along the direction, which a forward sweep of dual numbers
through the backward pass gives without a graph; one sweep yields the products with every second derivative. Batches
are cut into pieces whose maps stay in the processor's cache: the loss is a sum over images, and so are its derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from condense.flat import FlatNetwork
from condense.machine_code import machine_code
from condense.unroll.lowered import Lowered, LoweredConvNet
from condense.unroll.steps import Pull

# The first maps of this many images take 10 MB at 32 pixels and width 128; a pass over those of 100 images ran at half
# the speed of one over 20, and at a third of one over 10 (AMD EPYC, 32 MB of third-level cache).
_PIECE = 20

Build = Callable[[Callable[..., Any]], Callable[..., Any]]


class _Piece(NamedTuple):
    """Some rows of a batch; beyond its end the images are black and weigh nothing."""

    images: Tensor  # (rows, C, H, W), a leaf where a gradient is asked for
    targets: Tensor  # (rows, K) probabilities
    weights: Tensor  # (rows,) of each image's loss
    used: int  # rows that belong to the batch


class _Dual(NamedTuple):
    """How the loss and its derivatives change along a direction of the parameters."""

    loss: Tensor
    parameters: Lowered
    patches: Tensor
    targets: Tensor


class Compiled:
    """One inner step of a ConvNet, for pieces of `rows` images.

    half: products in bfloat16.
    build: makes machine code of a function; tests give another one than TorchInductor.

    Raises:
        BadInput: for a network other than the ConvNet.
    """

    def __init__(self, network: FlatNetwork, half: bool, rows: int, build: Build | None = None):
        build = build or machine_code
        self._size = network.size
        self._classes = network.shapes["classifier.bias"][0]
        self._network = LoweredConvNet(network, half)
        self._rows = rows
        self._slope = build(_slope_of(self._network))
        self._dual = build(_dual_of(self._network))

    def begin(self, steps: int) -> None:
        pass  # no graph is ever kept

    def gradient(self, k: int, parameters: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        leaf, lowered = self._lowered(parameters)
        values = lowered.detached()
        total = [torch.zeros_like(value) for value in values.tensors()]
        for piece in self._pieces(images, targets):
            patches = self._network.patches(piece.images).contiguous()
            torch._foreach_add_(total, self._slope(values, patches, piece.targets, piece.weights).tensors())
        return torch.autograd.grad(lowered.tensors(), leaf, total)[0]

    def pull(
        self, k: int, parameters: Tensor, images: Tensor, targets: Tensor, direction: Tensor, curvature: bool
    ) -> Pull:
        leaf, lowered = self._lowered(parameters)
        values, along = lowered.detached(), images.new_zeros(())
        heading = self._network.lower(direction)  # the lowered form is linear in the parameters
        total = [torch.zeros_like(value) for value in values.tensors()]
        by_images, by_targets = [], []
        for piece in self._pieces(images, targets):
            with torch.enable_grad():
                pixels = piece.images.requires_grad_()
                patches = self._network.patches(pixels).contiguous()
            found = self._dual(values, heading, patches.detach(), piece.targets, piece.weights)
            torch._foreach_add_(total, found.parameters.tensors())
            along = along + found.loss
            by_images.append(torch.autograd.grad(patches, pixels, found.patches)[0][: piece.used])
            by_targets.append(found.targets[: piece.used])
        return Pull(
            along,
            torch.cat(by_images),
            torch.cat(by_targets) if targets.is_floating_point() else None,
            torch.autograd.grad(lowered.tensors(), leaf, total)[0] if curvature else None,
        )

    def warm_up(self, example: Tensor) -> None:
        """Builds both graphs for images like the `example` (1, C, H, W).

        Otherwise the second one is built in the middle of a backward pass, on top of that pass's stack.
        """
        images = torch.zeros_like(example).expand(self._rows, *example.shape[1:])
        targets = torch.zeros(self._rows, dtype=torch.int64, device=example.device)
        parameters = example.new_zeros(self._size)
        with torch.no_grad():
            self.gradient(0, parameters, images, targets)
            self.pull(0, parameters, images, targets, parameters, curvature=True)

    def _lowered(self, parameters: Tensor) -> tuple[Tensor, Lowered]:
        """A leaf, and the lowered form with the graph that leads back to it."""
        with torch.enable_grad():
            leaf = parameters.detach().requires_grad_()
            return leaf, self._network.lower(leaf)

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


def _objective(
    network: LoweredConvNet, maps: Tensor, rest: dict[str, Tensor], targets: Tensor, weights: Tensor
) -> Tensor:
    """Cross-entropy, summed with the weights.  maps: those behind the first convolution."""
    # Not `dot`: its forward derivative by a constant is a tensor without memory, which compiled code reads.
    return -(weights * (targets * network.logits(maps, rest).log_softmax(1)).sum(1)).sum()


def _slope_of(network: LoweredConvNet) -> Callable[..., Lowered]:
    """slope(lowered, patches, targets, weights) -> the derivative of the objective by the lowered parameters."""

    def objective(lowered: Lowered, patches: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return _objective(network, network.product(patches, lowered.first), lowered.rest, targets, weights)

    slope: Callable[..., Lowered] = torch.func.grad(objective)
    return slope


def _dual_of(network: LoweredConvNet) -> Callable[..., _Dual]:
    """dual(lowered, heading, patches, targets, weights) -> changes along `heading`, a direction of lowered parameters.

    The first layer is differentiated by hand: patches P are constant along the direction, and a compiler multiplies
    zeros. With weights W and their direction H, its maps are Y = P W, which change by dY = P H. With G the derivative
    of the objective by Y, and dG its change:

        derivative by W:  P^T G,  which changes by  P^T dG
        derivative by P:  G W^T,  which changes by  dG W^T + G H^T
    """
    slopes = torch.func.grad_and_value(_objective, argnums=(1, 2, 3))
    product = network.product

    def dual(lowered: Lowered, heading: Lowered, patches: Tensor, targets: Tensor, weights: Tensor) -> _Dual:
        def of_layers(maps: Tensor, rest: dict[str, Tensor]) -> Any:
            return slopes(network, maps, rest, targets, weights)

        maps, maps_change = product(patches, lowered.first), product(patches, heading.first)
        found: Any = torch.func.jvp(of_layers, (maps, lowered.rest), (maps_change, heading.rest))
        ((by_maps, _, _), _), ((change_by_maps, change_by_rest, change_by_targets), change) = found
        by_weight = product(patches.flatten(0, 2).T, change_by_maps.flatten(0, 2))
        by_patches = product(change_by_maps, lowered.first.T) + product(by_maps, heading.first.T)
        return _Dual(change, Lowered(by_weight, change_by_rest), by_patches, change_by_targets)

    return dual


def compiled_step(network: FlatNetwork, half: bool, largest: int, example: Tensor) -> Compiled:
    """The compiled step for batches of up to `largest` images like the `example` (1, C, H, W), kept with the network.

    Pieces are of one size, so that every batch runs through one pair of graphs, and as even as `largest` allows.
    """
    pieces = -(-largest // _PIECE)
    rows = -(-largest // pieces)

    def build() -> Compiled:
        step = Compiled(network, half, rows)
        step.warm_up(example)
        return step

    return network.derived(("compiled step", half, rows, example.shape[1:], example.dtype), build)
