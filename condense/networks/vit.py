"""A small vision transformer.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, https://arxiv.org/abs/2010.11929, in the small form of
Beyer, Zhai & Kolesnikov, https://arxiv.org/abs/2205.01580: pre-norm, mean over tokens instead of a class token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense.errors import BadInput
from condense.networks.layers import Network, Shape, activation_function


class ViT(Network):
    """`depth` transformer blocks on patches of about an eighth of the shorter side, at least 2 pixels wide.

    8x8 images give 4x4 patches of 2 pixels, 28x28 give 7x7 of 4, 32x32 and 64x64 give 8x8 of 4 and 8. A side that
    the patch does not divide is padded with zeros at the bottom or right. There is no dropout: a forward pass draws
    nothing.

    Raises:
        BadInput: when the heads do not divide the width.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        width: int = 128,
        depth: int = 6,
        heads: int = 4,
        hidden: int = 256,
        activation: str = "gelu",
    ):
        super().__init__()
        if width % heads:
            raise BadInput(f"the width of a vit is a multiple of its heads, got width={width}, heads={heads}")
        self.patch = max(2, -(-min(shape[1:]) // 8))
        rows, columns = (-(-side // self.patch) for side in shape[1:])
        self.padding = (0, columns * self.patch - shape[2], 0, rows * self.patch - shape[1])  # left, right, top, bottom
        self.patches = nn.Conv2d(shape[0], width, self.patch, self.patch)
        self.position = _Position(rows * columns, width)
        self.blocks = nn.ModuleList(_Block(width, heads, hidden, activation) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def embed(self, images: Tensor) -> Tensor:
        tokens = self.patches(F.pad(images, self.padding)).flatten(2).transpose(1, 2)  # (N, T, D)
        tokens = self.position(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        embedding: Tensor = self.norm(tokens).mean(1)
        return embedding


class _Position(nn.Module):
    """A learned vector for each place, added to its token; drawn from N(0, 0.02^2)."""

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, width))

    def draw_parameters(self, generator: torch.Generator) -> None:
        self.weight.copy_(torch.randn(self.weight.shape, generator=generator, dtype=torch.float32, device="cpu") * 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.weight


class _Block(nn.Module):
    """Self-attention and a two-layer perceptron, each on the normed tokens and added to them."""

    def __init__(self, width: int, heads: int, hidden: int, activation: str):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.activation = activation_function(activation)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.projection(self._attend(self.norm1(tokens)))
        mixed: Tensor = tokens + self.fc2(self.activation(self.fc1(self.norm2(tokens))))
        return mixed

    def _attend(self, tokens: Tensor) -> Tensor:
        # Written out: the fused attention kernels have no second derivative, which gradient matching needs.
        query, key, value = self.queries_keys_values(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5  # (N, heads, T, T)
        return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)  # (N, T, D)
