"""Every published preset of the decoupled methods against its authors' scripts, number by number."""

from __future__ import annotations

from typing import Any

import pytest
from setting_tables import differences, rows

from condense import teachers
from condense.methods import cda, cvdd, infer, rded, sre2l

# Recovery of images: the authors' recover scripts and the defaults of their arguments. r: weight of the batch-norm
# term; first: of the first layer in it; crop: area of the smallest; roll: circular shift in pixels; T: temperature of
# the teacher's answers.
RECOVERY = """
method  preset                    steps  lr    r     first  batch  start   crop  flip  roll   T
sre2l   released-cifar            1000   0.25  0.01  10     100    noise   1     no    0,4    30
sre2l   released-tiny-imagenet    4000   0.1   1     10     100    noise   0.08  yes   -4,4   20
sre2l   released-imagenet         4000   0.25  0.01  10     100    noise   0.08  yes   0,32   20
sre2l   plus-plus-cifar           4000   0.25  0.01  10     100    medium  0.08  yes   0,4    20
sre2l   plus-plus-tiny-imagenet   4000   0.25  0.01  10     100    medium  0.08  yes   0,4    20
sre2l   plus-plus-imagenet        4000   0.25  0.01  10     100    medium  0.08  yes   0,32   20
cda     table-1-tiny-imagenet     4000   0.4   0.05  10     100    noise   0.08  yes   0,4    20
cda     table-1-imagenet          4000   0.25  0.01  10     100    noise   0.08  yes   0,32   20
cda     cifar                     1000   0.25  0.01  10     100    noise   0.08  yes   0,4    30
cvdd    table-1-cifar             4000   0.25  0.01  10     100    medium  0.08  yes   0,4    20
cvdd    table-1-tiny-imagenet     4000   0.25  0.01  10     100    medium  0.08  yes   0,4    20
cvdd    table-1-imagenet          4000   0.25  0.01  10     100    medium  0.08  yes   0,32   20
"""
# One compensator for a group of one image of every class, from zeros; the size of a group is the number of classes.
COMPENSATORS = """
preset                     steps  lr    r     first  crop  flip  roll  T   labels
released-cifar             1000   0.25  1     10     1     no    0,4   30  fixed
released-cifar-dynamic     1000   0.25  1     10     1     no    0,4   30  teacher
tiny-imagenet              1000   0.25  1     10     1     no    0,4   30  fixed
released-imagenet          2000   0.25  0.01  10     0.08  yes   0,32  20  fixed
released-imagenet-dynamic  2000   0.25  0.01  10     0.08  yes   0,32  20  teacher
"""
# Stitched patches: an image of 224 pixels holds four, a smaller one is a patch.
PATCHES = """
preset         factor  pool  crops  scale  T   labels
cifar          1       300   5      0.08   20  teacher
cifar-conv3    1       300   5      0.08   20  teacher
tiny-imagenet  1       300   5      0.08   20  teacher
imagenet-1k    2       300   5      0.08   20  teacher
"""
# Labels of regions: images of a step, how they are mixed, and whose batch statistics the teachers use.
REGIONS = """
method  preset                   labels   batch  mix     statistics  group
sre2l   released-cifar           teacher  128    mixup   batch       -
sre2l   released-tiny-imagenet   teacher  256    -       running     -
sre2l   released-imagenet        regions  1024   cutmix  running     -
sre2l   plus-plus-cifar          regions  16     cutmix  batch       8
sre2l   plus-plus-tiny-imagenet  regions  16     cutmix  batch       8
sre2l   plus-plus-imagenet       regions  16     cutmix  batch       8
cda     table-1-tiny-imagenet    teacher  256    -       running     -
cda     table-1-imagenet         regions  128    cutmix  running     -
cda     cifar                    teacher  128    mixup   batch       -
cvdd    table-1-cifar            regions  16     cutmix  batch       8
cvdd    table-1-tiny-imagenet    regions  16     cutmix  batch       8
cvdd    table-1-imagenet         regions  16     cutmix  batch       8
"""
METHODS: dict[str, Any] = {"sre2l": sre2l, "cda": cda, "cvdd": cvdd, "infer": infer, "rded": rded}
RESNET, WEIGHTS = "resnet18:norm=batch", "@IMAGENET1K_V1"
# ResNet-18, ResNet-50, ShuffleNet-V2, MobileNet-V2, DenseNet-121: x0.5 of ShuffleNet for small images, else x1.0.
COMMITTEE = [RESNET, "resnet50:norm=batch", "shufflenet-v2:width=50", "mobilenet-v2", "densenet-121"]
LARGE_COMMITTEE = [
    f"torchvision:{name}{WEIGHTS}"
    for name in ("resnet18", "resnet50", "shufflenet_v2_x1_0", "mobilenet_v2", "densenet121")
]
COMPENSATING = [RESNET, "mobilenet-v2", "efficientnet-b0", "shufflenet-v2"]  # the fourth departs, see the docstring
LARGE_COMPENSATING = [f"torchvision:{name}{WEIGHTS}" for name in ("resnet18", "mobilenet_v2", "efficientnet_b0")]
LARGE_RESNET = f"torchvision:resnet18{WEIGHTS}"
# Networks that a set is made from, the recipe that trains them (None with weights), and its epochs.
TEACHERS: dict[tuple[str, str], tuple[list[str], str | None, int]] = {
    ("sre2l", "released-cifar"): ([RESNET], "sre2l-cifar", 200),
    ("sre2l", "released-tiny-imagenet"): ([RESNET], "sre2l-tiny", 50),
    ("sre2l", "released-imagenet"): ([LARGE_RESNET], None, 0),
    ("sre2l", "plus-plus-cifar"): ([RESNET], "cvdd-cifar", 200),
    ("sre2l", "plus-plus-tiny-imagenet"): ([RESNET], "cvdd-tiny", 50),
    ("sre2l", "plus-plus-imagenet"): ([LARGE_RESNET], None, 0),
    ("cda", "table-1-tiny-imagenet"): ([RESNET], "sre2l-tiny", 50),
    ("cda", "table-1-imagenet"): ([LARGE_RESNET], None, 0),
    ("cda", "cifar"): ([RESNET], "sre2l-cifar", 200),
    ("cvdd", "table-1-cifar"): (COMMITTEE, "cvdd-cifar", 200),
    ("cvdd", "table-1-tiny-imagenet"): (COMMITTEE, "cvdd-tiny", 50),
    ("cvdd", "table-1-imagenet"): (LARGE_COMMITTEE, None, 0),
    ("infer", "released-cifar"): (COMPENSATING, "sre2l-cifar", 200),
    ("infer", "released-cifar-dynamic"): (COMPENSATING, "sre2l-cifar", 200),
    ("infer", "tiny-imagenet"): (COMPENSATING, "sre2l-tiny", 50),
    ("infer", "released-imagenet"): (LARGE_COMPENSATING, None, 0),
    ("infer", "released-imagenet-dynamic"): (LARGE_COMPENSATING, None, 0),
    ("rded", "cifar"): ([RESNET], "sre2l-cifar", 200),
    ("rded", "cifar-conv3"): (["convnet-d3:norm=batch"], "sre2l-cifar", 200),
    ("rded", "tiny-imagenet"): ([RESNET], "sre2l-tiny", 50),
    ("rded", "imagenet-1k"): ([LARGE_RESNET], None, 0),
}
NAMES = {"method", "preset"}  # columns that say whose row it is


def ids(row: dict[str, str]) -> str:
    return "-".join(row[name] for name in ("method", "preset") if name in row)


def config_of(row: dict[str, str], method: str | None = None) -> Any:
    return METHODS[row.get("method") or str(method)].PRESETS[row["preset"]].config


def shared(config: Any) -> dict[str, Any]:
    return {
        "steps": config.steps,
        "lr": config.lr,
        "r": config.statistics_weight,
        "first": config.first_multiplier,
        "crop": config.smallest_crop,
        "flip": config.flip,
        "roll": f"{config.roll_from},{config.roll_to}",
        "T": config.temperature,
    }


@pytest.mark.parametrize("row", rows(RECOVERY), ids=ids)
def test_images_are_recovered_as_the_scripts_do(row: dict[str, str]) -> None:
    config = config_of(row)
    assert not differences(row, {**shared(config), "batch": config.batch, "start": config.initial}, NAMES)
    assert config.draws == "batch"


@pytest.mark.parametrize("row", rows(COMPENSATORS), ids=ids)
def test_compensators_are_made_as_the_scripts_do(row: dict[str, str]) -> None:
    config = config_of(row, "infer")
    assert not differences(row, {**shared(config), "labels": config.labels}, NAMES)
    assert config.draws == "batch"
    assert config.compensate


@pytest.mark.parametrize("row", rows(PATCHES), ids=ids)
def test_patches_are_cut_as_the_scripts_do(row: dict[str, str]) -> None:
    config = config_of(row, "rded")
    found = {"factor": config.factor, "pool": config.pool, "crops": config.crops, "scale": config.min_scale}
    assert not differences(row, {**found, "T": config.temperature, "labels": config.labels}, NAMES)
    assert config.rank


@pytest.mark.parametrize("row", rows(REGIONS), ids=ids)
def test_labels_are_asked_for_as_the_scripts_do(row: dict[str, str]) -> None:
    config = config_of(row)
    # Labels that are asked while training have the mixes of the protocol; a recipe without any has nothing to hold.
    mix = None if row["labels"] == "teacher" and row["mix"] == "-" else config.label_mix
    found = {"labels": config.labels, "batch": config.label_batch, "mix": mix}
    assert not differences(row, {**found, "statistics": config.label_statistics, "group": config.label_group}, NAMES)
    assert config.label_epochs == 300


@pytest.mark.parametrize(("method", "preset"), TEACHERS)
def test_teachers_are_those_of_the_scripts(method: str, preset: str) -> None:
    config = METHODS[method].PRESETS[preset].config
    names = {"sre2l": "teacher", "cda": "teacher", "cvdd": "committee", "infer": "teachers", "rded": "observer"}
    networks, recipe, epochs = TEACHERS[method, preset]
    assert teachers.members(getattr(config, names[method])) == networks
    if recipe is not None:
        trained = ("training", "training_epochs") if method == "rded" else ("teacher_recipe", "teacher_epochs")
        assert [getattr(config, name) for name in trained] == [recipe, epochs]


def test_a_committee_votes_by_the_published_temperatures() -> None:
    for preset in ("table-1-cifar", "table-1-tiny-imagenet", "table-1-imagenet"):
        config = cvdd.PRESETS[preset].config
        assert (config.members, config.vote_temperature, config.label_temperature) == (2, 5.0, 10.0)
        assert (config.voting, config.label_voting) == ("prior", "prior")
    assert cvdd.PRESETS["table-1-imagenet"].config.priors == "56.4+42.3+52.5+44.2+40.6"


def test_crops_shrink_as_a_cosine_to_the_last_step() -> None:
    for preset in ("table-1-tiny-imagenet", "table-1-imagenet", "cifar"):
        config = cda.PRESETS[preset].config
        assert (config.curriculum, config.milestone) == ("cosine", 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_no_published_preset_is_left_out(method: str) -> None:
    pinned = {preset for name, preset in TEACHERS if name == method}
    texts = {"infer": COMPENSATORS, "rded": PATCHES}
    tables = [texts[method]] if method in texts else [RECOVERY, REGIONS]
    for text in tables:
        assert {row["preset"] for row in rows(text) if row.get("method", method) == method} == pinned
    assert set(METHODS[method].PRESETS) == pinned | {"cpu"}
