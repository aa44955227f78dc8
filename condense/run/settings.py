"""What a run and the runs inside it share."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from condense.errors import BadInput
from condense.progress import NoProgress, Progress


@dataclass(frozen=True)
class Settings:
    """Nothing here changes a result, except the device and, in the last bits, compilation."""

    device: torch.device
    checkpoint_seconds: float  # 0 saves after every step
    check_every: int  # steps between looks for a divergence
    progress: Progress | NoProgress
    compile: bool  # networks are compiled
    shared: bool  # several processes work in one run directory

    def __post_init__(self) -> None:
        if self.checkpoint_seconds < 0:
            raise BadInput(f"checkpoint_seconds must not be negative, got {self.checkpoint_seconds!r}")
        if self.check_every < 1:
            raise BadInput(f"check_every must be at least 1 step, got {self.check_every!r}")
