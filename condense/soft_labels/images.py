"""What is labelled."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Images(Protocol):
    """Images by index, in preprocessed space: the view of a set."""

    def __len__(self) -> int: ...

    def gather(self, indices: Tensor, device: torch.device | str | None = None) -> Tensor: ...
