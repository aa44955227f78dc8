"""Random and k-means images with teacher features: the targets are the teacher's, the choice is the one stated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from condense import methods
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet, Representations
from condense.errors import BadInput
from condense.method import with_overrides
from condense.run import Run
from condense.self_supervised import teacher_features, teacher_for

TINY = {"teacher_network": "convnet-d1:norm=batch,width=4", "teacher_epochs": 1, "teacher_projector": 4}
BASELINES = ("random_teacher", "kmeans_teacher")


@pytest.fixture
def split() -> Split:
    """30 images in three tight clusters of brightness."""
    draws = torch.Generator().manual_seed(0)
    level = torch.tensor([30, 120, 220])[torch.arange(30) % 3]
    images = level[:, None, None, None] + torch.randint(-8, 9, (30, 1, 8, 8), generator=draws)
    return Split.from_arrays(images.to(torch.uint8), torch.arange(30) // 15, ("a", "b"), flips=False)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run(tmp_path / "run", seed=0, cache_dir=tmp_path / "cache") as opened:
        yield opened


def made(name: str, split: Split, run: Run, budget: Budget) -> DistilledSet:
    plugin = methods.get(name)
    found = plugin.distill(split.unlabelled(), budget, with_overrides(name, plugin.config("cpu"), TINY), run)
    assert isinstance(found, DistilledSet)
    return found


@pytest.mark.parametrize("name", BASELINES)
def test_the_targets_are_the_teacher_s_features_of_the_chosen_images(name: str, split: Split, run: Run) -> None:
    found = made(name, split, run, Budget(total=7))
    config = with_overrides(name, methods.get(name).config("cpu"), TINY)
    assert found.source is not None
    assert isinstance(found.labels, Representations)
    features = teacher_features(split, teacher_for(split, config, run), run)
    torch.testing.assert_close(found.labels.values, features[found.source.indices])
    assert len(found.source.indices.unique()) == 7


@pytest.mark.parametrize("name", BASELINES)
def test_images_per_class_and_fractions_count_without_labels(name: str, split: Split, run: Run) -> None:
    assert len(made(name, split, run, Budget(ipc=2))) == 4


def test_a_budget_beyond_the_split_is_refused(split: Split, run: Run) -> None:
    with pytest.raises(BadInput, match="total-31 asks for 31 images, the training split has 30"):
        made("random_teacher", split, run, Budget(total=31))
    assert Budget(fraction=0.1).images(30, 2) == 3


def test_krr_st_before_its_first_step_is_random_images_with_teacher_features(split: Split, run: Run) -> None:
    krr = methods.get("krr_st")
    config = with_overrides("krr_st", krr.config("cpu"), {**TINY, "steps": 0})
    start = krr.distill(split.unlabelled(), Budget(total=7), config, run)
    random = made("random_teacher", split, run, Budget(total=7)).bind(split)
    assert torch.equal(start.images, random.view().gather(torch.arange(7)))
    assert torch.equal(start.labels.values, random.labels.values)  # type: ignore[attr-defined]


def test_k_means_takes_one_image_of_each_cluster(split: Split, run: Run) -> None:
    found = made("kmeans_teacher", split, run, Budget(total=3))
    assert found.source is not None
    assert sorted((found.source.indices % 3).tolist()) == [0, 1, 2]
