"""Mean and standard deviation of a split per channel, in units of [0, 1], from exact integer sums."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Channels = tuple[float, ...]


class ChannelStatistics:
    """Accumulates uint8 images chunk by chunk; the sums are integers, so the order of chunks does not matter."""

    def __init__(self, channels: int):
        self._count = 0
        self._sums = [0] * channels
        self._squares = [0] * channels

    def update(self, images: NDArray[np.uint8]) -> None:
        """Adds images (B, C, H, W)."""
        values = np.arange(256, dtype=np.int64)
        for channel in range(len(self._sums)):
            counts = np.bincount(images[:, channel].reshape(-1), minlength=256)
            self._sums[channel] += int(counts @ values)
            self._squares[channel] += int(counts @ values**2)
        self._count += images[:, 0].size

    def result(self) -> tuple[Channels, Channels]:
        """(mean, population standard deviation); a constant channel gets 1, so that it is centred and not scaled."""
        mean, std = [], []
        for total, squares in zip(self._sums, self._squares, strict=True):
            mean.append(total / self._count / 255)
            variance = (squares * self._count - total**2) / self._count**2
            std.append(math.sqrt(variance) / 255 or 1.0)
        return tuple(mean), tuple(std)
