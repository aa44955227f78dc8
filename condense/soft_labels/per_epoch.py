"""Labels for every epoch: a committee answers for each region that a rule draws, and the answers go straight to disk.

FKD (Shen & Xing, ECCV 2022, arXiv 2112.01528), mixed as in SRe2L (Yin, Xing & Shen, NeurIPS 2023, arXiv 2306.13092),
calibrated as in FerKD (Shen, ICCV 2023, arXiv 2312.17473). One epoch is in memory at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from condense.augment import Mix, mix_targets
from condense.distilled.labels import FULL, Codec, Committee, RegionLabels, Regions, SoftForm
from condense.errors import BadInput, DamagedFile
from condense.run import Run, Store
from condense.sending import send
from condense.soft_labels.calibration import Calibration
from condense.soft_labels.checks import check_regions
from condense.soft_labels.images import Images
from condense.training.replay import replay_mix, replay_view

_CHUNK = 256  # images that are asked about at once, where steps are smaller
_ON_CPU = 32  # of them in one pass on a CPU: more maps leave its caches before the next layer reads them
_NEARLY_ALL = 0.95  # of the regions; fewer may go without a label
_ENOUGH = 500  # regions that tell such a share from chance: of a small set, those of many epochs


def per_epoch(
    images: Images,
    regions: Regions,
    committee: Committee,
    epochs: int,
    run: Run,
    *,
    classes: Tensor | None = None,
    codec: Codec = FULL,
    linear: bool = False,
    calibration: Calibration | None = None,
    name: str = "labels",
) -> RegionLabels:
    """Labels of so many epochs, in a store of the run: what was written before an interruption is not made again.

    Args:
        images: in the committee's `space`.
        classes: (N,) the class that each image was made for; needed by a calibration, kept with the labels.
        linear: ask about unmixed regions and mix the answers (FKD, FerKD); otherwise mixed images are asked about
            (SRe2L, CV-DD).
        calibration: what to do with answers that are not sure; needs `linear`, since one class is at stake.
        name: of the store.

    Raises:
        BadInput: for arguments that do not fit each other, or a calibration that leaves nearly no region a label.
    """
    _check(images, regions, committee, classes, linear, calibration, codec)
    wise = committee.for_many(run.device)
    labels = None if classes is None else classes.to(run.device)
    form: SoftForm = "probabilities" if linear or committee.softened_at is not None else "logits"
    store = run.store(name, epochs, codec.schema(regions.samples, committee.n_classes))
    # Of the epochs that are there: what an unbroken run refuses, one that was continued refuses as well.
    there = [] if calibration is None else _dropped(store)
    asked, dropped = len(there) * regions.samples, sum(there)  # regions
    for shard in store.missing():
        epoch = _Epoch(images, regions, wise, shard.index, linear, labels, calibration)
        answers = epoch.answers()
        asked, dropped = asked + regions.samples, dropped + epoch.dropped
        if asked >= min(_ENOUGH, epochs * regions.samples) and dropped > _NEARLY_ALL * asked:
            raise BadInput(
                f"the calibration leaves {dropped} of {asked} regions without a label; lower its `low`, or use better "
                "teachers"
            )
        if calibration is not None:
            shard.note = str(epoch.dropped)
        shard.write(**codec.encode(answers, form, committee.temperature))
    temperature = kept_temperature(codec, form, committee.temperature)
    return RegionLabels(regions, store, committee.n_classes, codec, codec.form(form), temperature, classes)


def _dropped(store: Store) -> list[int]:
    """Regions without a label in each epoch that is there and sound; the others are made again."""
    found = []
    for epoch in range(len(store)):
        try:
            store.read(epoch)
        except (BadInput, DamagedFile):
            continue
        if note := store.note(epoch):
            found.append(int(note))
    return found


def step_images(images: Images, regions: Regions, drawn: dict[str, Tensor], step: int, device: torch.device) -> Tensor:
    """The regions of one step before they are mixed, (b, C, H, W).  drawn: `regions.epoch(epoch)`."""
    rows = regions.rows(step)
    crop, flip = send(drawn["crop"][rows], device), send(drawn["flip"][rows], device)
    return replay_view(images.gather(drawn["indices"][rows], device), crop, flip)


class _Epoch:
    """The answers of one epoch, a few steps at a time."""

    def __init__(
        self,
        images: Images,
        regions: Regions,
        committee: Committee,
        epoch: int,
        linear: bool,
        classes: Tensor | None,
        calibration: Calibration | None,
    ):
        self._images = images
        self._regions = regions
        self._committee = committee
        self._epoch = epoch
        self._linear = linear
        self._classes = classes
        self._calibration = calibration
        self.dropped = 0  # regions without a label so far
        self._drawn = regions.epoch(epoch)
        self._device = next(iter(committee.members[0].state.values())).device

    def answers(self) -> Tensor:
        """(n, K) on the CPU, in the order of the steps."""
        together = max(1, _CHUNK // self._regions.batch)
        steps = range(self._regions.steps)
        return torch.cat([self._ask(list(steps[first : first + together])).cpu() for first in steps[::together]])

    def _ask(self, steps: list[int]) -> Tensor:
        """Answers for some steps, in one pass of the committee where batch statistics allow it."""
        mixes = [self._regions.mixed(self._epoch, step) for step in steps]
        regions = [self._step(step, None if self._linear else mix) for step, mix in zip(steps, mixes, strict=True)]
        logits = self._logits(torch.cat(regions), self._groups(steps, regions))
        if not self._linear and self._committee.softened_at is None:
            return logits
        temperature = self._committee.temperature
        targets = (logits / temperature).softmax(1)
        if not self._linear:
            return targets
        if self._calibration is not None:
            assert self._classes is not None
            rows = slice(self._regions.rows(steps[0]).start, self._regions.rows(steps[-1]).stop)
            classes = self._classes[send(self._drawn["indices"][rows], self._device)]
            targets = self._calibration(logits, classes, temperature)
            self.dropped += int((targets.sum(1) == 0).sum())
        parts = targets.split([len(part) for part in regions])
        mixed = [part if mix is None else mix_targets(part, mix) for part, mix in zip(parts, mixes, strict=True)]
        return torch.cat(mixed)

    def _logits(self, images: Tensor, groups: Tensor | None) -> Tensor:
        """Answers with running statistics are each image's own: they are asked for a part at a time."""
        if self._committee.statistics == "batch":
            return self._committee.logits_for(images, groups)
        part = _ON_CPU if self._device.type == "cpu" else _CHUNK
        answers = [self._committee.logits_for(some) for some in images.split(part)]
        return answers[0] if len(answers) == 1 else torch.cat(answers)

    def _step(self, step: int, mix: Mix | None) -> Tensor:
        images = step_images(self._images, self._regions, self._drawn, step, self._device)
        return images if mix is None else replay_mix(images, mix)

    def _groups(self, steps: list[int], regions: list[Tensor]) -> Tensor | None:
        """Numbers of the groups that share batch statistics, no number twice among the steps."""
        if self._committee.statistics == "running":
            return None
        numbered, first = [], 0
        for step, images in zip(steps, regions, strict=True):
            own = self._regions.groups(step)
            own = torch.zeros(len(images), dtype=torch.int64) if own is None else own
            numbered.append(own + first)
            first += int(own.max()) + 1
        return torch.cat(numbered)


def kept_temperature(codec: Codec, form: SoftForm, temperature: float) -> float:
    """Logits are kept undivided, to be softened by whoever trains; probabilities say at which temperature they are."""
    return 1.0 if codec.form(form) == "logits" else temperature


def _check(
    images: Images,
    regions: Regions,
    committee: Committee,
    classes: Tensor | None,
    linear: bool,
    calibration: Calibration | None,
    codec: Codec,
) -> None:
    if regions.count != len(images) or regions.shape != committee.shape:
        raise BadInput(
            f"the regions are drawn for {regions.count} images of {regions.shape}, the set stands for {len(images)}, "
            f"the committee knows {committee.shape}; (C, H, W)"
        )
    if calibration is not None and classes is None:
        raise BadInput("a calibration weighs answers against the class of one image; give the classes")
    check_regions(committee.average, committee.temperature, linear, calibration is not None, codec.kind)
