"""The outer step of trajectory matching: SGD on what is learned, with guards against its known ways to fail.

Three failures are reported by users of the published codes: the loss becomes NaN, one bad segment throws the images
off, and the learned step size explodes or turns negative. The guards leave an ordinary run as it is; how often they
acted is in `conclusion`, which methods put into the provenance of the set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from condense.errors import BadInput, Diverged
from condense.run import Run
from condense.trajectories.settings import Settings

PATIENCE = 100  # rejected steps in a row after which no recovery is to be expected
_REMEDY = "lower step_size, or raise threshold"
LARGEST_CHANGE = 2.0  # of the step size in one update, either way; ordinary ones change it by parts of a per cent


def require_positive(step_size: float) -> None:
    """Raises BadInput for a step size that could not be kept positive."""
    if not step_size > 0:
        raise BadInput(f"step_size must be positive to be learned, got {step_size:g}")


def require_momentum(name: str, value: float) -> None:
    """Raises BadInput for a momentum with which steps would grow for ever."""
    if not 0 <= value < 1:
        raise BadInput(f"{name} must lie in [0, 1), got {value:g}")


class Descent:
    """SGD with momentum on images (M, C, H, W), the student's step size () and, where they are learned, label logits.

    A step whose loss or gradient is not finite, or whose loss lies above `threshold` (DATM), is rejected: nothing
    moves, momentum included. The step size stays positive: an update may at most halve or double it, and one that
    would do more leaves no momentum behind, so that a single bad gradient does not carry it on.

    Args:
        images, step_size, labels: what the losses given to `step` depend on; labels are (M, K) logits, or None when
            they are not learned.
        threshold: None accepts every finite loss.

    Raises:
        BadInput: for a step size that is not positive.
    """

    def __init__(
        self,
        images: Tensor,
        step_size: Tensor,
        *,
        lr_images: float,
        lr_step_size: float,
        momentum: float,
        threshold: float | None = None,
        labels: Tensor | None = None,
        lr_labels: float = 0.0,
        momentum_labels: float = 0.0,
    ):
        require_positive(step_size.item())
        self.step_size = step_size.requires_grad_()
        self.threshold = threshold
        groups: list[dict[str, Any]] = [
            {"params": [images.requires_grad_()], "lr": lr_images, "momentum": momentum},
            {"params": [step_size], "lr": lr_step_size, "momentum": momentum},
        ]
        if labels is not None:
            groups.append({"params": [labels.requires_grad_()], "lr": lr_labels, "momentum": momentum_labels})
        self._sgd = torch.optim.SGD(groups)
        self._learned: list[Tensor] = [part for group in groups for part in group["params"]]
        self._counts = {"accepted": 0, "rejected": 0, "rejected in a row": 0, "limited": 0}

    def step(self, loss: Tensor, run: Run) -> None:
        """Moves everything down the gradient of the loss, which it computes, and logs.

        Give it the loss without a name of its own: what an unrolled loss holds, a path of N parameter vectors and
        kept graphs, would otherwise live until the next one is complete.

        After `PATIENCE` rejections in a row the phase is stopped, with the reason.

        Raises:
            Diverged: when they are the first ones, so that nothing was ever learned.
        """
        self._sgd.zero_grad()
        if self._acceptable(loss) and self._finite_gradients(loss):
            self._descend()
            self._counts["accepted"] += 1
            self._counts["rejected in a row"] = 0
            run.log(loss=loss.detach())
        else:
            self._counts["rejected"] += 1
            self._counts["rejected in a row"] += 1
            self._give_up(loss.item(), run)
        run.log(step_size=self.step_size.detach(), rejected=self._counts["rejected"])

    def conclusion(self, run: Run) -> dict[str, int]:
        """How often a guard acted, said in a line where one did: steps rejected, updates of the step size limited.

        Raises:
            Diverged: when every step was rejected, so that the images are still those of the beginning.
        """
        rejected, limited = self._counts["rejected"], self._counts["limited"]
        made = rejected + self._counts["accepted"]
        if rejected and rejected == made:
            raise Diverged(f"all {made} steps were rejected, so that nothing was learned; {_REMEDY}")
        if rejected or limited:
            run.progress.say(f"of {made} steps {rejected} were rejected; the step size was limited in {limited}")
        return {"rejected_steps": rejected, "limited_step_sizes": limited}

    def state_dict(self) -> dict[str, Any]:
        """Momentum and counts; the tensors that are learned belong to the phase's state themselves."""
        return {"sgd": self._sgd.state_dict(), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self._sgd.load_state_dict(state["sgd"])
        self._counts.update(state["counts"])

    def _acceptable(self, loss: Tensor) -> bool:
        """A NaN fails the comparison as well."""
        return bool(loss.isfinite() if self.threshold is None else loss <= self.threshold)

    def _finite_gradients(self, loss: Tensor) -> bool:
        loss.backward()
        return bool(torch.stack([part.grad.isfinite().all() for part in self._learned if part.grad is not None]).all())

    def _descend(self) -> None:
        before = self.step_size.item()
        self._sgd.step()
        after = self.step_size.item()
        with torch.no_grad():
            self.step_size.clamp_(before / LARGEST_CHANGE, before * LARGEST_CHANGE)
        if self.step_size.item() != after:
            self._counts["limited"] += 1
            momentum = self._sgd.state[self.step_size].get("momentum_buffer")
            if momentum is not None:
                momentum.zero_()

    def _give_up(self, loss: float, run: Run) -> None:
        if self._counts["rejected in a row"] < PATIENCE:
            return
        reason = f"{PATIENCE} steps in a row were rejected, the last with a loss of {loss:g}"
        if self._counts["accepted"] == 0:
            raise Diverged(f"{reason}, and none was accepted before; {_REMEDY}")
        run.stop(reason)


def descent_of(
    config: Settings,
    images: Tensor,
    *,
    labels: Tensor | None = None,
    lr_labels: float = 0.0,
    momentum_labels: float = 0.0,
) -> Descent:
    """The descent that a configuration asks for, on images (M, C, H, W) and a new step size beside them."""
    return Descent(
        images,
        torch.tensor(config.step_size, device=images.device),
        lr_images=config.lr_images,
        lr_step_size=config.lr_step_size,
        momentum=config.momentum,
        threshold=config.threshold,
        labels=labels,
        lr_labels=lr_labels,
        momentum_labels=momentum_labels,
    )
