"""How the learning rate goes, as a pure function of the epoch and the step: nothing to save, nothing to resume."""

from __future__ import annotations

import math
from dataclasses import dataclass

from condense.errors import BadInput

SCHEDULES = ("constant", "drop-restart", "cosine", "one-cycle")


@dataclass(frozen=True)
class Schedule:
    """A multiplier of the recipe's learning rate.

    constant       1 throughout.
    drop-restart   `factor` once epoch index `after` is finished, and the optimiser starts afresh there, as the
                   matching papers do by making a new one (momentum restarts).
    cosine         floor + (1 - floor) (1 + cos(pi t / (stretch E))) / 2, t the epoch, or the step when `per` is
                   "step"; stretch 2 is the "smoothed" cosine of the relabelling papers, which ends at half height.
    one-cycle      from 1/25 up to 1 over the first `rise` of all steps and down to 1/250000, both as half cosines
                   (Smith & Topin 2017, https://arxiv.org/abs/1708.07120, with PyTorch's defaults; momentum is held).

    `warmup` epochs rise linearly from 0 to 1 first (constant and cosine); the cosine spans the epochs that are left.
    """

    kind: str = "constant"
    after: int | None = None
    factor: float = 0.1
    stretch: float = 1.0
    floor: float = 0.0
    per: str = "epoch"
    warmup: int = 0
    rise: float = 0.3

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise BadInput(f"schedule must be one of {', '.join(SCHEDULES)}; got {self.kind!r}")
        if (self.kind == "drop-restart") != (self.after is not None):
            raise BadInput("the schedule field 'after' (an epoch index) belongs to drop-restart, and only to it")
        if self.after is not None and (not isinstance(self.after, int) or self.after < 0):
            raise BadInput(f"after must be an epoch index of at least 0, got {self.after!r}")
        if self.per not in ("epoch", "step"):
            raise BadInput(f"per must be 'epoch' or 'step', got {self.per!r}")
        if not self.factor > 0.0 or not self.stretch > 0.0:
            raise BadInput(f"factor and stretch must be above 0, got {self.factor!r} and {self.stretch!r}")
        if not 0.0 <= self.floor <= 1.0 or not 0.0 < self.rise < 1.0:
            raise BadInput(f"floor must lie in [0, 1] and rise in (0, 1), got {self.floor!r} and {self.rise!r}")
        if not isinstance(self.warmup, int) or self.warmup < 0:
            raise BadInput(f"warmup must be a number of epochs of at least 0, got {self.warmup!r}")
        if self.warmup and self.kind not in ("constant", "cosine"):
            raise BadInput(f"a warm-up goes with constant or cosine, not with {self.kind!r}")

    def check(self, epochs: int) -> None:
        """Raises BadInput when the schedule does not fit into so many epochs."""
        if self.after is not None and self.after >= epochs - 1:
            raise BadInput(
                f"the rate drops after epoch index {self.after}, but the last of {epochs} epochs has index"
                f" {epochs - 1}; lower 'after' or train longer"
            )
        if self.warmup >= epochs and self.warmup:
            raise BadInput(f"a warm-up of {self.warmup} epochs does not fit into {epochs} epochs")

    def multiplier(self, epoch: int, step: int, steps_per_epoch: int, epochs: float) -> float:
        """Of the learning rate in step `step` of epoch `epoch`, both counted from 0; `epochs` may end in a part."""
        done = epoch * steps_per_epoch + step
        if self.kind == "one-cycle":
            return _one_cycle(done, round(epochs * steps_per_epoch), self.rise)
        if epoch < self.warmup:
            return (done + 1) / (self.warmup * steps_per_epoch)
        if self.kind == "drop-restart":
            assert self.after is not None
            return self.factor if epoch > self.after else 1.0
        if self.kind == "cosine":
            passed: float = epoch - self.warmup
            if self.per == "step":
                passed += step / steps_per_epoch
            angle = min(math.pi, math.pi * passed / (self.stretch * (epochs - self.warmup)))
            return self.floor + (1.0 - self.floor) * (1.0 + math.cos(angle)) / 2.0
        return 1.0

    def restarts(self, epoch: int) -> bool:
        """Whether the optimiser forgets its state before this epoch."""
        return self.after is not None and epoch == self.after + 1


def _one_cycle(done: int, total: int, rise: float) -> float:
    start, end = 1.0 / 25.0, 1.0 / 25.0 / 1e4
    peak = rise * total - 1.0
    if done <= peak:
        return _half_cosine(start, 1.0, done / peak)
    return _half_cosine(1.0, end, (done - peak) / max(total - 1.0 - peak, 1.0))


def _half_cosine(first: float, last: float, fraction: float) -> float:
    return last + (first - last) * (1.0 + math.cos(math.pi * fraction)) / 2.0
