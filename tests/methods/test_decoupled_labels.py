"""RDED's patches and INFER's budget, by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from condense import methods, preprocessing, teachers
from condense.budget import Budget
from condense.data import Split
from condense.distilled.labels import FULL
from condense.errors import BadInput, Unsuitable
from condense.preprocessing import identity
from condense.run import Run
from condense.soft_labels import LabelRecipe

rded = methods.get("rded").module
infer = methods.get("infer").module


def test_the_best_patch_of_each_image_comes_first_then_the_second_best() -> None:
    scores = torch.tensor([[3.0, 1.0], [0.5, 4.0], [2.0, 0.7]])  # of three images with two patches each
    patches = torch.arange(6.0).view(3, 2, 1, 1, 1)
    chosen = rded.select(patches, scores, 5, rank=True).flatten()
    # Best ones: image 1 (0.5), 2 (0.7), 0 (1.0); second-best: 2 (2.0), 0 (3.0), 1 (4.0).
    assert chosen.tolist() == [2.0, 5.0, 1.0, 4.0, 0.0]
    assert rded.select(patches, scores, 4, rank=False).flatten().tolist() == [0.0, 2.0, 4.0, 1.0]


def test_the_best_patches_fill_the_first_cell_of_every_image() -> None:
    levels = torch.arange(8.0) / 10  # eight patches for two images of 2 x 2 cells, the best first
    images = rded.stitch(levels.view(8, 1, 1, 1).expand(8, 1, 4, 4), 2, (1, 8, 8)).float() / 255
    cells = images[:, 0].unfold(1, 4, 4).unfold(2, 4, 4)[..., 0, 0]  # (M, rows, columns)
    torch.testing.assert_close(cells[0], torch.tensor([[0.0, 0.2], [0.4, 0.6]]), atol=2e-3, rtol=0)
    torch.testing.assert_close(cells[1], torch.tensor([[0.1, 0.3], [0.5, 0.7]]), atol=2e-3, rtol=0)


def test_cells_fill_an_image_whose_side_they_do_not_divide() -> None:
    images = rded.stitch(torch.ones(9, 1, 2, 2), 3, (1, 8, 7))
    assert tuple(images.shape) == (1, 1, 8, 7)
    assert bool((images == 255).all())


def test_a_patch_is_scored_in_the_middle_of_the_mean_colour() -> None:
    seen: list[torch.Tensor] = []

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.anchor = nn.Parameter(torch.zeros(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return torch.stack([images.sum((1, 2, 3)), torch.zeros(len(images))], dim=1)

    patches = torch.tensor([0.1, 0.5]).view(1, 2, 1, 1, 1).expand(1, 2, 1, 2, 2)
    scores = rded.realism(Network(), patches, 0, (1, 4, 4), identity())
    assert seen[0][0, 0].count_nonzero() == 4
    assert bool((seen[0][0, 0, 1:3, 1:3] == 0.1).all())
    expected = -torch.stack([torch.tensor([0.4, 0.0]).log_softmax(0)[0], torch.tensor([2.0, 0.0]).log_softmax(0)[0]])
    torch.testing.assert_close(scores[0], expected)


def test_crops_lie_within_their_image_at_the_size_of_a_patch(train: Split) -> None:
    config = rded.Config(factor=2, crops=3, min_scale=0.3)
    patches = rded.cut(train, torch.tensor([0, 5]), config, torch.Generator().manual_seed(0))
    assert tuple(patches.shape) == (2, 3, 1, 4, 4)
    for patch, image in zip(patches, train.take([0, 5]).float() / 255, strict=True):
        assert float(image.min()) - 1e-6 <= float(patch.min()) <= float(patch.max()) <= float(image.max()) + 1e-6


def test_patches_are_not_stretched_where_images_are_not_square() -> None:
    """Images whose red rises by one a row and whose green rises by one a column: both rise alike in a patch."""
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(80), indexing="ij")
    pixels = torch.stack([rows, columns, columns]).to(torch.uint8).expand(4, -1, -1, -1)
    train = Split.from_arrays(pixels.contiguous(), torch.zeros(4, dtype=torch.int64), ["only"])
    config = rded.Config(factor=2, crops=3, min_scale=0.3)
    patches = 255 * rded.cut(train, torch.arange(4), config, torch.Generator().manual_seed(0))[..., 4:-4, 4:-4]
    down, across = patches[:, :, 0].diff(dim=-2).mean((-2, -1)), patches[:, :, 1].diff(dim=-1).mean((-2, -1))
    torch.testing.assert_close(down, across, rtol=0.05, atol=0.0)  # boxes are whole pixels


def test_patches_come_from_more_images_where_more_are_needed(train: Split) -> None:
    """What is announced counts them too."""
    config = rded.Config(observer="convnet-d1:norm=batch,width=4", factor=2, pool=1, crops=2)
    work = [rded.cost(train, Budget(ipc=ipc), config).operations for ipc in (1, 2)]
    assert work[0] < work[1]


@pytest.mark.parametrize(
    ("ipc", "classes", "members", "groups"),
    [
        (10, 10, 4, 7), (50, 10, 4, 35), (10, 100, 4, 9), (50, 100, 4, 48), (100, 100, 4, 96), (10, 200, 4, 9),
        (50, 200, 4, 49), (10, 1000, 3, 9), (50, 1000, 3, 49),
    ],
)  # fmt: skip
def test_the_budget_of_infer_is_the_papers(ipc: int, classes: int, members: int, groups: int) -> None:
    """K = floor(ipc / (M / C + 1)), as tabulated for the data sets of the paper."""
    assert infer.group_count(ipc * classes, classes, members) == groups
    assert groups == int(ipc / (members / classes + 1))


def test_a_budget_below_one_group_is_refused() -> None:
    with pytest.raises(BadInput, match="raise it, or use fewer teachers"):
        infer.group_count(10, 10, 1)


@pytest.fixture
def quick() -> object:
    return infer.Config(
        teachers="convnet-d1:norm=batch,width=4+convnet-d2:norm=batch,width=4",
        teacher_recipe="tiny-images",
        teacher_epochs=1,
        steps=3,
        roll_to=1,
    )


def test_a_class_with_fewer_images_than_groups_is_refused_before_any_work(quick: object, tmp_path: Path) -> None:
    """Three quarters of 16 + 4 + 16 images are 27: five groups of three classes and two networks."""
    labels = torch.tensor([0] * 16 + [1] * 4 + [2] * 16)
    images = torch.randint(0, 256, (36, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    train, budget = Split.from_arrays(images, labels, ("one", "two", "three")), Budget(fraction=0.75)
    with Run(tmp_path / "run", seed=0, cache_dir=tmp_path / "cache") as run:
        with pytest.raises(Unsuitable, match="5 groups of one real image of every class, and the class 'two' has 4"):
            infer.distill(train, budget, quick, run)
        with pytest.raises(Unsuitable, match="lower it"):
            infer.cost(train, budget, quick)
    assert not (tmp_path / "cache").exists()


def test_static_logits_take_the_stated_part_of_a_store_for_every_epoch(
    train: Split, quick: object, tmp_path: Path
) -> None:
    """The bytes of INFER's labels are K (M + 1) / (ipc * epochs) of those that every epoch of ipc images would take."""
    ipc, epochs = 4, 300
    with Run(tmp_path / "run", seed=0, cache_dir=tmp_path / "cache") as run:
        made = infer.distill(train, Budget(ipc=ipc), quick, run)
    groups = infer.group_count(ipc * 3, 3, 2)  # K
    assert (groups, len(made), len(made.view())) == (2, 6, 18)
    rule = LabelRecipe("regions", "any", epochs=epochs, batch=8).regions(ipc * 3, train, 0)
    per_epoch = epochs * FULL.nbytes(rule.samples, 3)
    logits = made.labels.values.numel() * made.labels.values.element_size()
    assert logits * ipc * epochs == per_epoch * groups * (2 + 1)
    assert made.bytes().labels == logits + len(made.view())  # and the class that each image was made for
    assert torch.equal(made.labels.hard(), torch.arange(3).repeat_interleave(groups).repeat(3))


def test_a_compensator_lowers_the_loss_of_its_group_and_fits_the_budget(
    train: Split, quick: object, tmp_path: Path
) -> None:
    config = dataclasses.replace(quick, teacher_epochs=20, steps=30, roll_to=0, statistics_weight=0.0)  # type: ignore[type-var]
    with Run(tmp_path / "run", seed=0, cache_dir=tmp_path / "cache") as run:
        made = infer.distill(train, Budget(ipc=8), config, run)
        space = preprocessing.fit("normalise", train)
        first = teachers.committee(config.teachers, train, space, infer._training(train, config), run)[0]
    per_network = len(made)  # 12 images, then 12 with the compensators of the first network
    images = made.view().gather(torch.arange(2 * per_network))
    classes = torch.arange(3).repeat_interleave(made.expansion["groups"]).repeat(2)
    losses = nn.functional.cross_entropy(first.module()(images), classes, reduction="none").view(2, -1).mean(1)
    assert float(losses[1]) < float(losses[0])
    assert made.bytes().images + made.bytes().extras <= 8 * 3 * 64 + 8 * len(made.extras["offset"])
