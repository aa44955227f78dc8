"""Committee voting for dataset distillation (CV-DD).

Cui, Li, Ma, Bi, Luo & Shen, "Dataset Distillation via Committee Voting", 2025,
https://arxiv.org/abs/2501.07575, Sec. 3.

Departures from the paper:
    - the prior performance of a member is measured anew, on a tenth of the training split that neither teacher nor
      student saw, unless `priors` states numbers (the authors' code: constants for five data sets).
    - the student of a prior asks the member while it learns, with batch statistics of whole steps, not of label_group
      (authors' code: labels stored beforehand, in the groups of its other labels).
    - at one image per class the two members of highest prior are taken (authors: for three data sets a stated pair).
    - initial=medium takes whole images of medium loss by the first member (authors: patches from a folder of medium
      difficulty, the same for every committee).
    - for batch-specific labels only batch norms leave evaluation mode (authors: dropout as well); a step that is not
      full is cut into the same groups for teacher and student, and every sample of it counts alike (authors: the
      teacher halves it, the student takes groups of eight, and its loss is divided as a full one's).
    - CIFAR-10 is scaled by deviations of .2023, .1994 and .2010 (authors' code: .2470, .2435 and .2616).
    - a teacher learns from nine tenths of the training split, the last tenth measures it (the paper: all of it), and it
      has no dropout; with the stem for small images it starts from PyTorch's default weights (authors: torchvision's).
    - a teacher of Tiny-ImageNet learns by a cosine from random crops, which the authors do not state.
    - images are kept as uint8 pixels, rounded; the authors save JPEG files. Blocks are as equal as in SRe2L.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from condense import preprocessing, recovery, teachers
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.distilled.labels.committee import Statistics
from condense.method import Cost, Count, Group, Method, Positive, Preset
from condense.recovery import Draws, Starting, Synthesis
from condense.recovery.priors import Student, prior_performance, stated
from condense.recovery.voting import check_size, pairings, votes
from condense.run import Run
from condense.soft_labels import LabelKind, LabelRecipe, answering_cost, labelled
from condense.training import Recipe

ABOUT = Method(
    title="CV-DD",
    paper="Cui et al., Dataset Distillation via Committee Voting, 2025",
    url="https://arxiv.org/abs/2501.07575",
    family="decoupled",
    kind="synthetic",
    ingredients={
        "members": 1,
        "voting": "equal",
        "label_voting": "equal",
        "initial": "noise",
        "statistics_weight": 0.0,
        "labels": "hard",
    },
)


@dataclass(frozen=True)
class Config:
    committee: str = (  # the teachers, joined by +
        "resnet18:norm=batch+resnet50:norm=batch+shufflenet-v2:width=50+mobilenet-v2+densenet-121"
    )
    teacher_recipe: str = "cvdd-cifar"  # how they are trained
    teacher_epochs: int = 200  # of their training
    members: Count = 2  # N, teachers that an image is recovered from
    voting: Literal["prior", "equal"] = "prior"  # w, of members on images: by prior performance or all alike
    vote_temperature: Positive = 5.0  # tau, of these votes, in percent points
    label_voting: Literal["prior", "equal"] = "prior"  # of the committee on labels
    label_temperature: Positive = 10.0  # of these votes, in percent points
    priors: str | None = None  # alpha in percent, joined by +; none: measured on held-out training images
    prior_ipc: Count = 10  # images per class recovered from a member alone, to measure its prior performance
    prior_steps: int = 4_000  # steps on each of them
    prior_student: str = "resnet18:norm=batch"  # trained on them
    prior_epochs: Count = 300  # of its training
    steps: int = 4_000  # T, steps on each image
    lr: float = 0.25  # of Adam on the images, falling as a cosine to 0
    statistics_weight: float = 0.01  # of the batch-norm term
    first_multiplier: float = 10.0  # of the first layer in it
    batch: Count = 100  # B, classes that are recovered together, one image of each
    initial: Starting = "medium"  # start from noise, real images, or real images of medium loss
    smallest_crop: float = 0.08  # area of the smallest crop
    flip: bool = True  # mirror views, where that keeps the class
    roll_from: int = 0  # pixels, least circular shift of a view
    roll_to: int = 4  # pixels, largest circular shift of a view
    draws: Draws = "batch"  # one view a step for the batch, or one for each image (sample)
    chunk: Count | None = None  # images with their maps in memory at a time; none for all of a batch
    labels: LabelKind = "regions"  # for regions of every epoch, asked while training (teacher), fixed, or hard
    label_statistics: Statistics = "batch"  # batch: batch-specific soft labels (BSSL)
    label_epochs: Count = 300  # of labels for regions
    label_batch: Count = 16  # images of a step of these labels
    label_mix: Literal["cutmix", "mixup"] | None = "cutmix"  # of these regions
    label_group: Group | None = 8  # images that share batch statistics in it; none for all of a step
    temperature: Positive = 20.0  # T


_IMAGENET = "+".join(
    f"torchvision:{name}@IMAGENET1K_V1"
    for name in ("resnet18", "resnet50", "shufflenet_v2_x1_0", "mobilenet_v2", "densenet121")
)

PRESETS = {
    "table-1-cifar": Preset(Config(), "authors' scripts, CIFAR-10 and CIFAR-100, IPC 1, 10 and 50"),
    "table-1-tiny-imagenet": Preset(
        Config(teacher_recipe="cvdd-tiny", teacher_epochs=50), "authors' scripts, Tiny-ImageNet"
    ),
    "table-1-imagenet": Preset(
        Config(committee=_IMAGENET, priors="56.4+42.3+52.5+44.2+40.6", roll_to=32),
        "authors' scripts and prior performance, ImageNet-1K",
    ),
    "cpu": Preset(
        Config(
            committee="convnet:norm=batch,width=32+resnet10:norm=batch,width=8+vgg11:norm=batch,width=8",
            teacher_recipe="tiny-images",
            teacher_epochs=8,
            prior_ipc=1,
            prior_steps=30,
            prior_student="convnet:norm=batch,width=16",
            prior_epochs=20,
            steps=50,
            statistics_weight=1.0,
            initial="real",
            smallest_crop=0.5,
            roll_to=1,
            labels="teacher",
        ),
        "two cores, digits; initial and statistics_weight were chosen on held-out training images",
        distill_seconds=10.0,
        judge_seconds=3.0,
    ),
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Trains the committee, weighs its members, recovers images from changing pairs, and has all of them label."""
    _check(config)
    space = preprocessing.fit("normalise", train, cache_dir=run.cache_dir)
    committee = teachers.committee(config.committee, train, space, _training(train, config), run)
    settings = Synthesis.of(config)
    alike = [50.0] * len(committee)  # any number: equal ones are equal votes
    priors = alike if config.priors is None else stated(config.priors, len(committee))  # alpha
    counts = budget.counts(train.class_counts(), train.classes)
    if _measures(config, max(counts)):
        alone = dataclasses.replace(settings, steps=config.prior_steps)
        priors = [prior_performance(member, train, alone, Student.of(config), space, run) for member in committee]

    pairs = pairings(priors, config.members, max(counts), run.rng("pairs"))
    voices = priors if config.voting == "prior" else alike

    def voters(number: int) -> tuple[Sequence[int], Sequence[float]]:
        return pairs[number], votes([voices[member] for member in pairs[number]], config.vote_temperature)  # w

    pixels, classes = recovery.images(committee, train, counts, settings, space, run, voters)
    weights = votes(priors if config.label_voting == "prior" else alike, config.label_temperature)
    made = labelled(_labels(config, weights), pixels, classes, committee, train, space, run)
    return dataclasses.replace(made, provenance={**made.provenance, **_told(config, priors, max(counts))})


def _check(config: Config) -> None:
    """Refuses what does not fit the committee before anything is trained."""
    size = len(teachers.members(config.committee))
    if config.priors is not None:
        stated(config.priors, size)
    check_size(config.members, size)


def _measures(config: Config, most: int) -> bool:
    """Whether prior performances are needed and not stated.  most: images of a class.

    Votes need them, and so does the one choice of members for a single image.
    """
    wanted = config.voting == "prior" or (config.label_voting == "prior" and config.labels != "hard")
    chosen = most == 1 and config.members < len(teachers.members(config.committee))
    return (wanted or chosen) and config.priors is None


def _told(config: Config, priors: Sequence[float], most: int) -> dict[str, object]:
    """What a set says of the votes that it was made by."""
    if _measures(config, most):
        return {"priors": list(priors), "priors_from": "the held-out tenth of the training split"}
    return {} if config.priors is None else {"priors": list(priors), "priors_from": "numbers that were stated"}


def _training(train: Split, config: Config) -> Recipe:
    return teachers.recipe(config.teacher_recipe, flips=train.flips, epochs=config.teacher_epochs)


def _labels(config: Config, weights: Sequence[float] | None = None) -> LabelRecipe:
    return LabelRecipe.of(config, config.committee, config.teacher_recipe, config.teacher_epochs, weights)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """The committee's training, recovery from pairs, prior performances that are not stated, and labels."""
    _check(config)
    counts = budget.counts(train.class_counts())
    count = sum(counts)
    members = teachers.members(config.committee)
    settings, training = Synthesis.of(config), _training(train, config)
    asking = answering_cost(_labels(config), train, count)
    share = config.members / len(members)
    main = recovery.cost(train, config.committee, training, settings, count, asking, share=share)
    if not _measures(config, max(counts)):
        return main
    student = Student.of(config)
    priors = sum(student.operations(member, train, config.prior_steps) for member in members)
    shared = main.shared_operations + priors
    return dataclasses.replace(main, operations=main.operations + priors, shared_operations=shared)
