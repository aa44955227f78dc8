"""What a method declares is true, and what every method owes holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from contract_cases import CLASSES, IPC, Case, conformance, content, dataset, distil

from condense import distilled
from condense.budget import Budget
from condense.distilled import DistilledSet
from condense.method import field_comments

Unbroken = Callable[[Case], Path]


def test_the_set_is_finite_and_of_the_size_asked_for(case: Case, unbroken: Unbroken) -> None:
    made = distilled.load(unbroken(case))
    per_class = 12 if case.plugin.about.kind == "full" else IPC
    assert made.classes == CLASSES
    if made.expansion["kind"] == "compensated":
        stands_in_the_place_of(made, per_class * len(CLASSES))
    else:
        assert len(made) == per_class * len(CLASSES)
    if "hard" in made.labels.offers and made.expansion["kind"] != "compensated":
        assert made.labels.hard().bincount(minlength=len(CLASSES)).tolist() == [per_class] * len(CLASSES)
    for name, tensor in {**made.tensors(), **made.labels.tensors()}.items():
        assert not tensor.is_floating_point() or bool(tensor.isfinite().all()), name


def stands_in_the_place_of(made: DistilledSet, asked: int) -> None:
    """Fewer images, and what makes more of them than were asked for: not dearer than those, but for a few numbers."""
    assert len(made) < asked <= len(made.view())
    size = made.bytes()
    assert size.images + size.extras <= asked * math.prod(made.shape) + 8 * len(made.extras["offset"])


def test_a_selection_is_indices_and_anything_else_is_images(case: Case, unbroken: Unbroken) -> None:
    made = distilled.load(unbroken(case))
    if case.plugin.about.kind == "synthetic":
        assert made.images is not None
        assert made.source is None
        return
    assert made.images is None
    assert made.source is not None
    train = dataset().train
    assert made.source.fingerprint == train.fingerprint
    assert made.source.indices.unique().numel() == len(made)
    if "hard" in made.labels.offers:
        assert torch.equal(train.labels[made.source.indices], made.labels.hard())


def test_the_same_seed_gives_the_same_bytes(case: Case, tmp_path: Path, expected: dict[str, bytes]) -> None:
    assert content(distil(case, tmp_path)) == expected


def test_another_seed_gives_another_set_unless_the_method_says_not(
    case: Case, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    same = content(distil(case, tmp_path, seed=1)) == expected
    assert same is not case.plugin.about.seeded


def test_labels_matter_exactly_where_they_are_declared(case: Case, tmp_path: Path, expected: dict[str, bytes]) -> None:
    if case.built_in or not case.plugin.about.uses_labels:
        assert labels_matter(case, tmp_path, expected) is case.plugin.about.uses_labels


def labels_matter(case: Case, folder: Path, expected: dict[str, bytes]) -> bool:
    shuffled = torch.arange(36).roll(1) // 12  # as many images in each class as before
    return content(distil(case, folder, source=dataset(shuffled))) != expected


def test_the_configuration_is_documented_and_every_preset_names_its_source(case: Case) -> None:
    plugin = case.plugin
    assert "cpu" in plugin.presets
    assert all(preset.source for preset in plugin.presets.values())
    assert all(isinstance(preset.config, plugin.config_type) for preset in plugin.presets.values())
    if case.built_in:
        fields = set(plugin.config_type.__dataclass_fields__)
        assert field_comments(plugin.config_type).keys() == fields
        assert plugin.module.__doc__ is not None
        assert "Departures from the paper" in plugin.module.__doc__


def test_the_announced_cost_is_a_number_for_every_preset(case: Case) -> None:
    train = dataset(side=32).train  # 8 pixels are too small for some published networks
    for name in case.plugin.presets:
        # Twice the size of the others: a committee of four shares images with the classes.
        cost = case.plugin.cost(train, Budget(ipc=2 * IPC), case.plugin.config(name))
        for value in (cost.operations, cost.memory_bytes, cost.disk_bytes):
            assert math.isfinite(value)
            assert value >= 0


def test_sets_that_share_a_cached_value_record_the_same_seconds_for_it(tmp_path: Path) -> None:
    (case,) = (case for case in conformance() if case.name == "nested_cache")
    spent = [distilled.load(distil(case, tmp_path, seed=seed)).provenance["volatile"] for seed in (0, 1)]
    assert spent[0]["shared_seconds"] == spent[1]["shared_seconds"] > 0
    assert all(0 <= one["seconds"] < 60 for one in spent)


@pytest.mark.parametrize(
    "fact", ["uses_labels=False", "selects=True", 'kind="selection"', "run.store", "run.cached", "run.jobs", "run.stop"]
)
def test_the_conformance_plugins_use_all_of_the_contract(fact: str) -> None:
    assert any(fact in Path(case.reference).read_text() for case in conformance())
