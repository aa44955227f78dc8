"""Curriculum data augmentation (CDA).

Yin & Shen, "Dataset Distillation via Curriculum Data Synthesis in Large Data Era", TMLR 2024,
https://arxiv.org/abs/2311.18838, Sec. 3. Squeeze, recover and relabel as SRe2L does, with one difference: the smallest
crop goes from the whole image down to 8 % of it while images are recovered, so that early steps fix the outline and
late ones the detail. With curriculum=constant it is SRe2L.

Departures from the paper:
    - a teacher learns from nine tenths of the training split, the last tenth measures it (the paper: all of it).
    - images are kept as uint8 pixels, rounded; the authors save JPEG files. Blocks are as equal as in SRe2L.
    - Tiny-ImageNet is normalised with ImageNet's mean and deviation (authors' code: its own).
    - the warm-up and the first weights of a teacher for small images are not quite SRe2L's; see there.
    - the teacher for ImageNet-21K comes from another library and its preset is left out.
    - for CIFAR the released code has no script: the preset is SRe2L's with this crop.
    - labels for ImageNet are made in steps of 128 images, as the protocol cda-imagenet trains; the released code does
      not state them, and LPLD, arXiv 2410.15919, has 128.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condense import preprocessing, recovery, teachers
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.distilled.labels.committee import Statistics
from condense.method import Cost, Count, Group, Method, Positive, Preset
from condense.recovery import Curriculum, Draws, Starting, Synthesis
from condense.run import Run
from condense.soft_labels import LabelKind, LabelRecipe, answering_cost, labelled
from condense.training import Recipe

ABOUT = Method(
    title="CDA",
    paper="Yin & Shen, Dataset Distillation via Curriculum Data Synthesis in Large Data Era, TMLR 2024",
    url="https://arxiv.org/abs/2311.18838",
    family="decoupled",
    kind="synthetic",
    ingredients={"curriculum": "constant", "statistics_weight": 0.0, "roll_to": 0},
)


@dataclass(frozen=True)
class Config:
    teacher: str = "resnet18:norm=batch"  # f, a network to train, or one with weights as in torchvision:resnet18@...
    teacher_recipe: str = "sre2l-tiny"  # how it is trained
    teacher_epochs: int = 50  # of its training
    steps: int = 4_000  # T, steps on each image
    lr: float = 0.4  # of Adam on the images, falling as a cosine to 0
    statistics_weight: float = 0.05  # alpha_BN, of the batch-norm term
    first_multiplier: float = 10.0  # of the first layer in it
    batch: Count = 100  # B, classes that are recovered together, one image of each
    initial: Starting = "noise"  # start from noise, real images, or real images of medium loss
    smallest_crop: float = 0.08  # beta_l, area of the smallest crop at the end
    curriculum: Curriculum = "cosine"  # from a crop of 1 to the smallest: step | linear | cosine; constant: none
    milestone: float = 1.0  # m, part of the steps that this takes
    flip: bool = True  # mirror views, where that keeps the class
    roll_from: int = 0  # pixels, least circular shift of a view
    roll_to: int = 4  # pixels, largest circular shift of a view
    draws: Draws = "batch"  # one view a step for the batch, or one for each image (sample)
    chunk: Count | None = None  # images with their maps in memory at a time; none for all of a batch
    labels: LabelKind = "teacher"  # asked while training (teacher), for regions of every epoch, fixed, or hard
    label_statistics: Statistics = "running"  # of the teacher's batch norms
    label_epochs: Count = 300  # of labels for regions
    label_batch: Count = 256  # images of a step of these labels
    label_mix: Literal["cutmix", "mixup"] | None = "cutmix"  # of these regions
    label_group: Group | None = None  # images that share batch statistics in it; none for all of a step
    temperature: Positive = 20.0  # tau


PRESETS = {
    "table-1-tiny-imagenet": Preset(
        Config(),
        "authors' commands, Tiny-ImageNet",
    ),
    "table-1-imagenet": Preset(
        Config(
            teacher="torchvision:resnet18@IMAGENET1K_V1",
            lr=0.25,
            statistics_weight=0.01,
            roll_to=32,
            labels="regions",
            label_batch=128,
        ),
        "authors' commands, ImageNet-1K, but for the labels",
    ),
    "cifar": Preset(
        Config(
            teacher_recipe="sre2l-cifar",
            teacher_epochs=200,
            steps=1_000,
            lr=0.25,
            statistics_weight=0.01,
            labels="teacher",
            label_statistics="batch",
            label_batch=128,
            label_mix="mixup",
            temperature=30.0,
        ),
        "SRe2L's scripts for CIFAR-100 with CDA's crops; not published",
    ),
    "cpu": Preset(
        Config(
            teacher="convnet:norm=batch,width=32",
            teacher_recipe="tiny-images",
            teacher_epochs=20,
            steps=200,
            lr=0.25,
            statistics_weight=10.0,
            label_batch=1_024,
            initial="real",
            smallest_crop=0.5,
            roll_to=1,
        ),
        "two cores, digits; initial and statistics_weight were chosen on held-out training images",
        distill_seconds=8.0,
        judge_seconds=3.0,
    ),
}


def distill(train: Split, budget: Budget, config: Config, run: Run) -> DistilledSet:
    """SRe2L, Sec. 3.1, with `curriculum` and `milestone` among the settings of its views, Sec. 3.2."""
    space = preprocessing.fit("normalise", train, cache_dir=run.cache_dir)
    teacher = teachers.teacher(config.teacher, train, space, _training(train, config), run)  # theta_T, squeeze
    counts = budget.counts(train.class_counts(), train.classes)
    settings = Synthesis.of(config)  # with the curriculum of the crops
    pixels, classes = recovery.images([teacher], train, counts, settings, space, run)  # recover
    return labelled(_labels(config), pixels, classes, [teacher], train, space, run)  # relabel


def _training(train: Split, config: Config) -> Recipe:
    return teachers.recipe(config.teacher_recipe, flips=train.flips, epochs=config.teacher_epochs)


def _labels(config: Config) -> LabelRecipe:
    return LabelRecipe.of(config, config.teacher, config.teacher_recipe, config.teacher_epochs)


def cost(train: Split, budget: Budget, config: Config) -> Cost:
    """Training the teacher, its forward pass and input gradient on every image and step, and its labels."""
    count = sum(budget.counts(train.class_counts()))
    asking = answering_cost(_labels(config), train, count)
    return recovery.cost(train, config.teacher, _training(train, config), Synthesis.of(config), count, asking)
