"""The teacher that a protocol owns: trained on the training split once per data set, it labels every set alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from condense import networks
from condense.data import Split
from condense.distilled import TeacherLabels
from condense.evaluate.protocol import Protocol
from condense.preprocessing import Preprocessing, normalise
from condense.training import SplitSource, train

if TYPE_CHECKING:
    from condense.run import Run


@dataclass(frozen=True, eq=False)
class Relabelled(TeacherLabels):
    """A teacher's answers to images that lie in the pixel space of the set it labels.

    A set brings its own preprocessing, the teacher has one too: images go back to pixels and on to the teacher, without
    clamping, so that the teacher judges what the student sees.
    """

    spaces: tuple[Preprocessing, Preprocessing] = field(kw_only=True)  # of the set, of the teacher

    def logits_for(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in the set's space -> (B, K)."""
        ours, theirs = self.spaces
        if ours.digest != theirs.digest:
            images = theirs.forward(ours.inverse(images))
        return super().logits_for(images)

    def to(self, device: torch.device | str) -> Relabelled:
        """The same labels with teacher and matrices on a device."""
        ours, theirs = self.spaces
        state = {name: tensor.to(device) for name, tensor in self.state.items()}
        return dataclasses.replace(self, state=state, spaces=(ours.to(device), theirs.to(device)))


def teacher_labels(protocol: Protocol, train_split: Split, set_space: Preprocessing, run: Run) -> Relabelled:
    """The protocol's teacher as labels for a set in `set_space`, trained now or taken from the cache of `run`.

    The teacher sees the training split and nothing else; nothing about it is chosen by its accuracy. It is the same one
    for every set, whichever engine trains on it.
    """
    assert protocol.teacher is not None
    teacher = protocol.teacher
    space = normalise(train_split.mean, train_split.std)
    recipe = protocol.teacher_recipe(len(train_split), flips=train_split.flips)
    key = {
        "kind": "protocol teacher",
        "data": train_split.fingerprint,
        "preprocessing": space.digest,
        "network": teacher.network,
        "recipe": recipe.spec(),
    }

    def build(sub: Run) -> Mapping[str, Tensor]:
        network = networks.build(teacher.network, train_split.shape, train_split.n_classes, sub.rng("init"))
        network.to(sub.device)
        train(network, SplitSource(train_split, space), recipe, sub.rng, run=sub)
        return network.state_dict()

    state = run.cached(key, build)
    return Relabelled(
        teacher.network,
        state,
        train_split.shape,
        train_split.n_classes,
        teacher.temperature,
        spaces=(set_space, space),
    )
