"""Kernels of infinitely wide ReLU networks, by their recursion: NNGP and neural tangent kernel.

Cho & Saul, "Kernel Methods for Deep Learning", NeurIPS 2009 (the arc-cosine kernels); Jacot, Gabriel & Hongler,
"Neural Tangent Kernel", NeurIPS 2018, https://arxiv.org/abs/1806.07572; Novak et al., "Bayesian Deep Convolutional
Networks with Many Channels are Gaussian Processes", ICLR 2019, https://arxiv.org/abs/1810.05148.

Weights have variance 2 / fan-in, there are no biases. The convolutional network has 3x3 filters with zero padding, no
pooling, and a linear readout of the flattened map: then only covariances of equal pixels matter, h*w numbers for each
pair of images. With pooling it would be (h*w)², which at 32 pixels is a million numbers for each pair.

Written out here because the library that is kept up for these kernels, neural-tangents, needs JAX: its gradient would
not reach PyTorch's images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from condense.errors import BadInput

# 1 - cos² from here on counts as this: the derivative of the tangent kernel has a pole where two images coincide.
_NEAREST = 1e-6
_SMALLEST = 1e-12  # square of a pixel's norm, so that black pixels have an angle


@dataclass(frozen=True)
class InfiniteNetwork:
    """k(x, x') of a ReLU network with `depth` hidden layers of infinite width.

    Args:
        kind: "nngp", of the outputs of random networks; "ntk", of networks under gradient descent.
        layers: "dense" on flattened images, or "conv" as said above.

    Raises:
        BadInput: for another kind, other layers, or a depth below 1.
    """

    kind: Literal["nngp", "ntk"] = "ntk"
    layers: Literal["dense", "conv"] = "dense"
    depth: int = 3

    def __post_init__(self) -> None:
        if self.kind not in ("nngp", "ntk"):
            raise BadInput(f"the kernel of an infinite network is nngp or ntk, got {self.kind!r}")
        if self.layers not in ("dense", "conv"):
            raise BadInput(f"the layers of an infinite network are dense or conv, got {self.layers!r}")
        if self.depth < 1:
            raise BadInput(f"an infinite network needs at least one hidden layer, got depth {self.depth}")

    def __call__(self, images: Tensor, others: Tensor | None = None) -> Tensor:
        """The Gram matrix (n, m) of images (n, C, H, W) and others (m, C, H, W), or (n, n) of the images themselves.

        Differentiable in both; it takes n m H W numbers for each layer of the convolutional network.
        """
        x = self._maps(images)
        y = x if others is None else self._maps(others)
        sizes = [self._linear(maps.square().mean(1)) for maps in (x, y)]  # (n, h, w), (m, h, w)
        covariance = self._linear(torch.einsum("nchw,mchw->nmhw", x, y) / x.shape[1])  # (n, m, h, w)
        tangent = covariance
        for layer in range(self.depth):
            norms = sizes[0].clamp_min(_SMALLEST).sqrt()[:, None] * sizes[1].clamp_min(_SMALLEST).sqrt()
            cosine = covariance / norms
            if others is None:  # an image has the angle 0 to itself, whatever its pixels: a constant
                same = torch.eye(len(x), dtype=torch.bool, device=x.device)[:, :, None, None]
                cosine = cosine.masked_fill(same, 1.0)
            linear = self._linear if layer < self.depth - 1 else _readout
            covariance = linear(norms * arc_cosine_1(cosine))
            if self.kind == "ntk":
                tangent = covariance + linear(tangent * arc_cosine_0(cosine))
            sizes = [self._linear(size) for size in sizes]
        return (tangent if self.kind == "ntk" else covariance)[:, :, 0, 0]

    def _maps(self, images: Tensor) -> Tensor:
        return images if self.layers == "conv" else images.flatten(1)[:, :, None, None]

    def _linear(self, values: Tensor) -> Tensor:
        """What a layer of weights does to covariances of pixels: dense, nothing; conv, a mean over its 3x3 inputs."""
        return avg_pool2d(values, 3, stride=1, padding=1) if self.layers == "conv" else values


def _readout(values: Tensor) -> Tensor:
    """One linear layer on the flattened map.  values: (n, m, h, w)."""
    return values.mean((2, 3), keepdim=True)


def arc_cosine_0(cosine: Tensor) -> Tensor:
    """2 E[step(u) step(v)] of standard normal u, v with this correlation: (pi - angle) / pi."""
    value: Tensor = _ArcCosine0.apply(cosine)
    return value


def arc_cosine_1(cosine: Tensor) -> Tensor:
    """2 E[relu(u) relu(v)] of standard normal u, v with this correlation: (sin + (pi - angle) cos) / pi."""
    value: Tensor = _ArcCosine1.apply(cosine)
    return value


class _ArcCosine0(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cosine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine)
        return 1 - cosine.clamp(-1, 1).acos_() / math.pi

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (cosine,) = ctx.saved_tensors
        return gradients[0] * (1 - cosine.square()).clamp_min(_NEAREST).rsqrt() / math.pi


class _ArcCosine1(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cosine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine)
        inside = cosine.clamp(-1, 1)
        return ((1 - inside.square()).sqrt_() + inside * (math.pi - inside.acos())) / math.pi

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (cosine,) = ctx.saved_tensors
        return gradients[0] * arc_cosine_0(cosine)  # the derivative of one is the other
