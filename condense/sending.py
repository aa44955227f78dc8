"""What was drawn on the CPU, on its way to where the images are."""

from __future__ import annotations

import torch
from torch import Tensor


def send(drawn: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of the CPU on `device`, without waiting for what the device still has to do; as `dtype` where given.

    Only this way round: ordinary memory of the CPU has been copied aside when the call returns, whereas a tensor that
    is fetched without waiting may be read before it has arrived.
    """
    return drawn.to(device, dtype, non_blocking=True)


def beside(indices: Tensor, rows: torch.device) -> Tensor:
    """Indices on the device of the rows that they choose: sent where they were drawn on the CPU, else fetched."""
    return send(indices, rows) if indices.device.type == "cpu" else indices.to(rows)
