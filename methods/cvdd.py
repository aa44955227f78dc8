"""Committee voting for dataset distillation (CV-DD).

Cui, Li, Ma, Bi, Luo & Shen, "Dataset Distillation via Committee Voting", 2025,
https://arxiv.org/abs/2501.07575, Sec. 3.

Departures from the paper:
    - the prior performance of a member is measured anew, on a tenth of the training split that neither teacher nor
      student saw, unless `priors` states numbers (the authors' code: constants for five data sets).
    - at one image per class the two members of highest prior are taken (authors: for three data sets a stated pair).
    - initial=medium takes whole images of medium loss (authors: patches from a folder of medium difficulty).
    - for batch-specific labels only batch norms leave evaluation mode (authors: dropout as well).
    - a teacher learns from nine tenths of the training split, the last tenth measures it (the paper: all of it).
    - images are kept as uint8 pixels, rounded; the authors save JPEG files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from condense import networks, preprocessing, recovery, teachers
from condense.budget import Budget
from condense.data import Split, validation_split
from condense.distilled import DistilledSet
from condense.distilled.labels.committee import Statistics
from condense.distilled.views import PlainView
from condense.method import Cost, Count, Method, Preset
from condense.preprocessing import Preprocessing
from condense.recovery import Descent, Draws, Objective, Starting, Views
from condense.recovery.voting import pairings, stated, votes
from condense.run import Job, Run
from condense.soft_labels import LabelKind, LabelRecipe, label, provenance
from condense.teachers import Teacher
from condense.tensor_format import checksum
from condense.training import Loss, Recipe, Resident, Schedule, SplitSource, accuracy
from condense.training import train as fit

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
    members: int = 2  # N, teachers that an image is recovered from
    voting: Literal["prior", "equal"] = "prior"  # w, of members on images: by prior performance or all alike
    vote_temperature: float = 5.0  # tau, of these votes, in percent points
    label_voting: Literal["prior", "equal"] = "prior"  # of the committee on labels
    label_temperature: float = 10.0  # of these votes, in percent points
    priors: str | None = None  # alpha in percent, joined by +; none: measured on held-out training images
    prior_ipc: Count = 10  # images per class recovered from a member alone, to measure its prior performance
    prior_steps: int = 4_000  # steps on each of them
    prior_student: str = "resnet18:norm=batch"  # trained on them
    prior_epochs: int = 300  # of its training
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
    label_epochs: int = 300  # of labels for regions
    label_batch: Count = 16  # images of a step of these labels
    label_mix: Literal["cutmix", "mixup"] | None = "cutmix"  # of these regions
    label_group: int | None = 8  # images that share batch statistics in it; none for all of a step
    temperature: float = 20.0  # T


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
            smallest_crop=0.5,
            roll_to=1,
            labels="teacher",
        ),
        "two cores, digits",
        distill_seconds=10.0,
        judge_seconds=3.0,
    ),
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """Trains the committee, weighs its members, recovers images from changing pairs, and has all of them label."""
    space = preprocessing.fit("normalise", train, cache_dir=run.cache_dir)
    training = teachers.recipe(config.teacher_recipe, flips=train.flips, epochs=config.teacher_epochs)
    committee = teachers.committee(config.committee, train, space, training, run)
    alike = [50.0] * len(committee)  # any number: equal ones are equal votes
    priors = alike
    if config.priors is not None:
        priors = stated(config.priors, len(committee))
    elif "prior" in (config.voting, config.label_voting):
        priors = [prior_performance(member, train, space, config, run) for member in committee]  # alpha

    counts = budget.counts(train.class_counts(), train.classes)
    pairs = pairings(priors, config.members, max(counts), run.rng("pairs"))

    def voters(number: int) -> tuple[list[int], list[float]]:
        members, voices = list(pairs[number]), priors if config.voting == "prior" else alike
        return members, votes([voices[member] for member in members], config.vote_temperature)  # w

    pixels, classes = recovered(train, counts, committee, voters, space, config, run)

    recipe = _labels(config, votes(priors if config.label_voting == "prior" else alike, config.label_temperature))
    labels = label(recipe, PlainView(pixels, space), classes, train, space, run, wise=committee)
    measured = "the held-out tenth of the training split" if config.priors is None else "numbers that were stated"
    told = {**provenance(recipe, committee), "priors": priors, "priors_from": measured}
    return DistilledSet.synthetic(pixels, labels, train, space, provenance=told)


def _labels(config: Config, weights: Sequence[float]) -> LabelRecipe:
    return LabelRecipe(
        config.labels,
        teachers=config.committee,
        training=config.teacher_recipe,
        training_epochs=config.teacher_epochs,
        weights=tuple(weights),
        statistics=config.label_statistics,
        temperature=config.temperature,
        epochs=config.label_epochs,
        batch=config.label_batch,
        mix=config.label_mix,
        norm_group=config.label_group,
    )


def recovered(
    train: Split,
    counts: Sequence[int],
    committee: Sequence[Teacher],
    voters: Callable[[int], tuple[list[int], list[float]]],
    space: Preprocessing,
    config: Config,
    run: Run,
) -> tuple[Tensor, Tensor]:
    """Pixels and classes, counts[k] of class k.  voters: of the number of an image, positions of members and votes."""
    observed = recovery.observe(committee, space, run)
    evaluate = run.compiled(recovery.terms)
    first = recovery.starting_images(config.initial, train, counts, space, committee, run)

    def prepare(job: Job) -> tuple[Tensor, Objective]:
        members, weights = voters(job.item.number)
        chosen = [observed[member] for member in members]
        strength = (config.statistics_weight, config.first_multiplier)
        return first(job), Objective(chosen, weights, *strength, evaluate, config.chunk)

    views = Views(
        steps=config.steps,
        lowest=config.smallest_crop,
        flip=config.flip and train.flips,
        roll_from=config.roll_from,
        roll_to=config.roll_to,
        draws=config.draws,
    )
    blocks = recovery.class_blocks(counts, config.batch)
    return recovery.recover(blocks, prepare, views, Descent(config.steps, config.lr), space, run)


def prior_performance(member: Teacher, train: Split, space: Preprocessing, config: Config, run: Run) -> float:
    """Percent of held-out training images that a student gets right which learned from images of this member alone.

    Kept in the cache. Images start from the nine tenths that the teacher saw, the last tenth only measures.
    """
    alone = replace(config, steps=config.prior_steps)
    recipe = student_recipe(config, train.flips)
    settings = ("lr", "statistics_weight", "first_multiplier", "batch", "initial", "smallest_crop", "flip", "draws")
    key = {
        "kind": "prior performance",
        "data": train.fingerprint,
        "preprocessing": space.digest,
        "teacher": {"network": member.network, "state": checksum(member.state)},
        "recovery": {name: getattr(alone, name) for name in ("steps", "roll_from", "roll_to", *settings)},
        "student": {"network": config.prior_student, "ipc": config.prior_ipc, "recipe": recipe.spec()},
        "labels": config.label_statistics,
    }

    def build(sub: Run) -> dict[str, float]:
        kept, held = validation_split(train)
        counts = [min(config.prior_ipc, have) for have in kept.class_counts()]
        pixels, classes = recovered(kept, counts, [member], lambda _: ([0], [1.0]), space, alone, sub)
        asked = LabelRecipe(
            "teacher", teachers=member.name, statistics=config.label_statistics, temperature=config.temperature
        )
        labels = label(asked, PlainView(pixels, space), classes, kept, space, sub, wise=[member])
        student = networks.build(config.prior_student, train.shape, train.n_classes, sub.rng("student")).to(sub.device)
        fit(student, Resident(space.forward(pixels), labels, train.n_classes), recipe, sub.rng, run=sub)
        return {"percent": 100 * accuracy(student, SplitSource(held, space))}

    percent: float = run.cached(key, build)["percent"]
    return percent


def student_recipe(config: Config, flips: bool) -> Recipe:
    """How a student learns from the images of one member: the authors' validation, ResNet-18 on CIFAR."""
    return Recipe(
        epochs=config.prior_epochs,
        batch=config.label_batch,
        optimiser="adamw",
        lr=1e-3,
        weight_decay=0.01,
        decay="matrices",
        schedule=Schedule("cosine"),
        augment={"kind": "random-resized-crop", "scale": [0.08, 1.0], "ratio": [3 / 4, 4 / 3], "flip": flips},
        mix={"kind": "cutmix", "alpha": 1.0, "probability": 1.0},
        loss=Loss("kl", temperature=config.temperature),
    )


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """The committee's training, recovery from pairs, prior performances that are not stated, and labels for regions."""
    count = sum(budget.counts(train.class_counts()))
    size = len(teachers.members(config.committee))
    measured = config.priors is None and "prior" in (config.voting, config.label_voting)
    alone = config.prior_ipc * train.n_classes
    main = recovery.cost(
        train,
        config.committee,
        teachers.recipe(config.teacher_recipe, flips=train.flips, epochs=config.teacher_epochs),
        images=count,
        steps=config.steps,
        together=config.chunk or config.batch,
        share=config.members / size,
        regions=count * config.label_epochs if config.labels == "regions" else 0,
    )
    if not measured:
        return main
    works = [
        networks.work(name.partition("@")[0], train.shape, train.n_classes)
        for name in teachers.members(config.committee)
    ]
    student = networks.work(config.prior_student, train.shape, train.n_classes)
    each = 2.0 * config.prior_steps + config.prior_epochs
    priors = alone * sum(each * work.operations + 3.0 * config.prior_epochs * student.operations for work in works)
    return replace(main, operations=main.operations + priors)
