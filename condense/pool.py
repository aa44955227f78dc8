"""A pool of networks that are trained on the synthetic set while it is learned, and born anew when they are old.

Zhou, Nezhadarya & Ba, "Dataset Distillation using Neural Feature Regression", NeurIPS 2022,
https://arxiv.org/abs/2206.00719, Alg. 1. Networks of many ages keep the images from fitting one stage of training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.optim import Optimizer

from condense import networks
from condense.networks import Network


class Pool:
    """Members with an optimiser each, by default in evaluation mode: features must not depend on the batch.

    Outside of their updates the members are frozen, so that no gradient of their weights is computed for nobody.

    Args:
        members: networks whose outputs have the width of the targets, on their device.
        optimiser: makes the optimiser of a member from its parameters.
        oldest: updates after which a member is replaced by a fresh one.
        ages: updates that each member counts as having had; all zero unless given.
        reborn_old: a fresh network keeps the age at which it was put in, so that it is never trained (KRR-ST's code).
    """

    def __init__(
        self,
        members: Sequence[Network],
        optimiser: Callable[[Iterable[Tensor]], Optimizer],
        oldest: int,
        ages: Sequence[int] | None = None,
        *,
        reborn_old: bool = False,
    ):
        self.members = [member.eval().requires_grad_(False) for member in members]
        self.optimisers = [optimiser(member.parameters()) for member in members]
        self.oldest = oldest
        self.ages = [0] * len(members) if ages is None else list(ages)
        self._newborn = oldest if reborn_old else 0

    def __len__(self) -> int:
        return len(self.members)

    def parts(self) -> dict[str, Any]:
        """What changes, for `run.state(**pool.parts())`; restored in place."""
        return {"pool": self.members, "pool_optimisers": self.optimisers, "pool_ages": self.ages}

    def choose(self, generator: torch.Generator) -> int:
        """A member, all equally likely."""
        return int(torch.randint(len(self), (), generator=generator))

    def advance(self, index: int, images: Tensor, targets: Tensor, birth: torch.Generator) -> None:
        """One update of a member, or its replacement in place of an update when it is old.

        images: (B, C, H, W).  targets: (B, d).  birth: draws the weights of a fresh member.
        """
        if self.ages[index] < self.oldest:
            self.update(index, images, targets)
            return
        self.renew(index, birth)

    def renew(self, index: int, birth: torch.Generator) -> None:
        """Puts a fresh network in the place of a member."""
        networks.initialise(self.members[index], birth)
        self.optimisers[index].state.clear()
        self.ages[index] = self._newborn

    def update(self, index: int, images: Tensor, targets: Tensor) -> None:
        """One step of regression on a batch of the synthetic set, whose images and targets get no gradient."""
        member, optimiser = self.members[index].train().requires_grad_(True), self.optimisers[index]
        optimiser.zero_grad()
        mse_loss(member(images.detach()), targets.detach()).backward()
        optimiser.step()
        optimiser.zero_grad()
        member.eval().requires_grad_(False)
        self.ages[index] += 1
