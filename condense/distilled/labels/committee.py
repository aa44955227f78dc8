"""Several networks that answer as one, as a computation and as a kind of label.

Their average is of logits, each with a weight (CV-DD, arXiv 2501.07575, section 3.3; INFER, arXiv 2408.06927: equal
weights), or of probabilities (MEAL V2, Shen & Savvides, arXiv 2009.08453, eq. 1). Batch statistics instead of running
ones are CV-DD's batch-specific soft labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from condense import networks, stated
from condense.distilled.labels.base import LabelBatch, register, stored_file
from condense.distilled.labels.classes import ClassesSpec, OptionalClasses, restored_classes
from condense.distilled.labels.stored import check_form
from condense.errors import BadInput
from condense.preprocessing import Preprocessing, from_spec
from condense.sending import send

Average = Literal["logits", "probabilities"]
Statistics = Literal["running", "batch"]
_ROUNDING = 1e-12  # by which weights that add up to 1 may miss it


@dataclass(frozen=True, eq=False)
class Member:
    """One network.

    Args:
        network: a name that `condense.networks.build` knows.
        state: its parameters and buffers.
        space: pixel space of its input.
    """

    network: str
    state: Mapping[str, Tensor]
    space: Preprocessing

    def nbytes(self) -> int:
        """Of the state."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state.values())


@dataclass(frozen=True, eq=False)
class Committee:
    """Answers to images that lie in one pixel space, whatever the spaces of the members.

    Args:
        members: at least one.
        shape, n_classes: (C, H, W) and K of every member.
        space: of the images that are asked about.
        average: of what the members' answers are averaged; "probabilities" are those at `temperature`.
        weights: one for each member, made to add up to 1; None: equal ones.
        statistics: "batch": batch-norm layers use the statistics of the images asked about, and nothing is
            remembered; every other layer stays in evaluation mode.
        temperature: T, at which the answers are meant to be softened.

    Raises:
        BadInput: for an empty committee, weights that do not fit it, a state that does not fit its network, or batch
            statistics where no member has batch norm.
    """

    members: tuple[Member, ...]
    shape: tuple[int, int, int]
    n_classes: int
    space: Preprocessing
    average: Average = "logits"
    weights: tuple[float, ...] | None = None
    statistics: Statistics = "running"
    temperature: float = 1.0
    _modules: tuple[nn.Module, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_form("logits", self.temperature)
        if not self.members:
            raise BadInput("a committee needs at least one member")
        if self.average not in ("logits", "probabilities") or self.statistics not in ("running", "batch"):
            raise BadInput(
                'a committee averages "logits" or "probabilities" over "running" or "batch" statistics, got '
                f"{self.average!r} and {self.statistics!r}"
            )
        weights = self.weights or (1.0,) * len(self.members)
        check_weights(weights, len(self.members))
        total = math.fsum(weights)
        if abs(total - 1) > _ROUNDING:  # dividing again what adds up to 1 would move the last digit, and a set's id
            weights = tuple(weight / total for weight in weights)
        object.__setattr__(self, "weights", tuple(weights))
        object.__setattr__(self, "_modules", tuple(self._build(member) for member in self.members))
        norms = sum(isinstance(layer, _BatchNorm) for module in self._modules for layer in module.modules())
        check_statistics(self.statistics, norms, [member.network for member in self.members])

    @property
    def softened_at(self) -> float | None:
        """The temperature where probabilities are averaged; an average of logits serves every one."""
        return None if self.average == "logits" else self.temperature

    @torch.no_grad()
    def logits_for(self, images: Tensor, groups: Tensor | None = None) -> Tensor:
        """Logits z whose softmax(z / T) is what the committee says.

        images: (B, C, H, W) in `space`.  groups: (B,) images with equal numbers share batch statistics; None: all do.
        Returns (B, K).
        """
        assert self.weights is not None
        total = torch.zeros((), device=images.device)
        for weight, member, module in zip(self.weights, self.members, self._modules, strict=True):
            asked = images
            if member.space.digest != self.space.digest:
                # Not clamped: the committee judges what a student sees.
                asked = member.space.forward(self.space.inverse(images))
            answers = self._answers(module, asked, groups)
            total = total + weight * (answers if self.average == "logits" else self._soft(answers))
        if self.average == "logits":
            return total
        return self.temperature * total.clamp(min=torch.finfo(total.dtype).tiny).log()

    def targets_for(self, images: Tensor, groups: Tensor | None = None) -> Tensor:
        """(B, C, H, W) in `space` -> (B, K) probabilities at T."""
        return self._soft(self.logits_for(images, groups))

    def to(self, device: torch.device | str) -> Self:
        """The same committee with its tensors on a device."""
        members = tuple(
            Member(
                each.network, {name: tensor.to(device) for name, tensor in each.state.items()}, each.space.to(device)
            )
            for each in self.members
        )
        return replace(self, members=members, space=self.space.to(device))

    def for_many(self, device: torch.device | str) -> Self:
        """As `to`, and on a CPU quicker: convolutions go through maps in channels-last order, and round otherwise.

        For labels that are made once; what asks while it trains keeps the order that its numbers were made in.
        """
        made = self.to(device)
        if torch.device(device).type == "cpu":
            for module in made._modules:
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in PyTorch's stubs
        return made

    def _soft(self, logits: Tensor) -> Tensor:
        return (logits / self.temperature).softmax(1)

    def _answers(self, module: nn.Module, images: Tensor, groups: Tensor | None) -> Tensor:
        if self.statistics == "running" or groups is None:
            answers: Tensor = module(images)
            return answers
        answers = images.new_empty(len(images), self.n_classes)
        for group in groups.unique():
            rows = send((groups == group).nonzero().flatten(), images.device)
            answers[rows] = module(images[rows])
        return answers

    def _build(self, member: Member) -> nn.Module:
        module = networks.build(member.network, self.shape, self.n_classes)
        try:
            module.load_state_dict(dict(member.state))
        except RuntimeError as error:
            raise BadInput(f"the state of a committee's member does not fit {member.network!r}: {error}") from error
        device = next(iter(member.state.values())).device
        module.to(device).eval().requires_grad_(False)
        return use_batch_statistics(module) if self.statistics == "batch" else module


def check_weights(weights: Sequence[float], members: int) -> None:
    """Refuses, with BadInput, weights that are not one for each member, or that cannot be made to add up to 1."""
    if len(weights) != members or not min(weights) >= 0 or not 0 < sum(weights) < math.inf:
        raise BadInput(f"give one weight of at least 0 for each of {members} members, got {tuple(weights)}")


def check_statistics(statistics: Statistics, batch_norms: int, networks: Sequence[str]) -> None:
    """Refuses, with BadInput, batch statistics of networks that have no batch norm among them: none would be used."""
    if statistics == "batch" and batch_norms == 0:
        raise BadInput(f"{' + '.join(networks)} has no batch norm, so no batch statistics; use statistics=running")


def use_batch_statistics(module: nn.Module) -> nn.Module:
    """Lets batch-norm layers, and no other, use the statistics of what they are given; running ones stay as they are.

    Dropout stays off: a network put into training mode as a whole, as in the authors' code, would also drop units.
    """
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.train()
            layer.track_running_stats = False
    return module


@dataclass(frozen=True, eq=False)
class CommitteeLabels(OptionalClasses):
    """Targets are a committee's answers to the images of the step, after augmentation and mixing.

    Args:
        committee: its `space` is that of the set; at its `temperature` probabilities are averaged, while averaged
            logits are softened at that of the recipe which trains on them, as stored logits are.
        classes: (M,) the class that each image was made for, where there is one.

    Raises:
        BadInput: for a member whose pixels are whitened otherwise than those of the set: matrices are not stored here.
    """

    committee: Committee
    classes: Tensor | None = None

    kind: ClassVar[str] = "committee"
    native: ClassVar[str] = "teacher"
    views: ClassVar[str] = "protocol"

    def __post_init__(self) -> None:
        self._check_classes(self.n_classes)
        spaces = {member.space.digest: member.space.kind for member in self.committee.members}
        spaces[self.committee.space.digest] = self.committee.space.kind
        if len(spaces) > 1 and "zca" in spaces.values():
            raise BadInput("a committee that is stored with a set sees the set's own pixel space, or normalised pixels")

    @property
    def n_classes(self) -> int:
        return self.committee.n_classes

    @property
    def count(self) -> int | None:
        return None if self.classes is None else len(self.classes)

    @property
    def softened_at(self) -> float | None:
        """As the committee's."""
        return self.committee.softened_at

    def answers_for(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in preprocessed space -> (B, K) logits, or probabilities where they are averaged."""
        own = self.committee
        return own.logits_for(images) if self.softened_at is None else own.targets_for(images)

    def view(self, epoch: int, step: int, indices: Tensor) -> LabelBatch:
        return LabelBatch(indices, target=None, form="teacher")

    def files(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        for index, member in enumerate(self.committee.members):
            yield _file_name(index), member.state

    def spec(self) -> dict[str, Any]:
        own = self.committee
        foreign = any(member.space.digest != own.space.digest for member in own.members)
        return {
            "kind": self.kind,
            "n_classes": own.n_classes,
            "shape": list(own.shape),
            "networks": [member.network for member in own.members],
            # One space for all needs no word: it is that of the set.
            "spaces": [space.spec() for space in (own.space, *(m.space for m in own.members))] if foreign else None,
            "average": own.average,
            "weights": list(own.weights or ()),
            "statistics": own.statistics,
            "temperature": own.temperature,
        } | self._class_spec()

    def nbytes(self) -> int:
        return sum(member.nbytes() for member in self.committee.members) + self._class_bytes()

    def to(self, device: torch.device | str) -> CommitteeLabels:
        return replace(self, committee=self.committee.to(device))


def _file_name(index: int) -> str:
    return f"member-{index:02d}.safetensors"


class _Spec(ClassesSpec):
    shape: tuple[int, int, int]
    networks: tuple[str, ...]
    spaces: tuple[dict[str, Any], ...] | None
    average: Average
    weights: tuple[float, ...]
    statistics: Statistics


def _restore(spec: _Spec, tensors: Mapping[str, Tensor], folder: Path) -> CommitteeLabels:
    # Spaces that are all the same are told apart from nothing: the identity stands for them.
    given = ({"kind": "identity"},) * (len(spec.networks) + 1) if spec.spaces is None else spec.spaces
    if len(given) != len(spec.networks) + 1:
        raise stated.Misstated(f"labels.spaces: one for the set and one for each network, found {len(given)}")
    space, *others = [from_spec(each) for each in given]
    states = [stored_file(folder / _file_name(index)) for index in range(len(others))]
    members = tuple(map(Member, spec.networks, states, others))
    committee = Committee(
        members, spec.shape, spec.n_classes, space, spec.average, spec.weights, spec.statistics, spec.temperature
    )
    return CommitteeLabels(committee, restored_classes(spec, tensors, folder))


register(CommitteeLabels.kind, _Spec, _restore)
