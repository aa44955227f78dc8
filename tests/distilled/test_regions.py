"""Regions drawn by counter: the same whatever was drawn before, in whatever pieces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from label_cases import CLASSES, COUNT, SHAPE, region_labels

from condense.augment import CutMix, Draw, RandomResizedCrop
from condense.distilled.labels import Codec, Dictating, RegionLabels, Regions
from condense.distilled.labels.counter import uniform
from condense.errors import BadInput

RULE = Regions(count=23, shape=(3, 16, 20), batch=8, seed=7, mix={"kind": "cutmix"})
PICK = torch.zeros(1, dtype=torch.int64)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_any_stretch_of_a_table_is_the_same_as_a_part_of_the_whole() -> None:
    whole = uniform(3, (1, 2), 50, 23)
    for first, rows in ((0, 1), (17, 5), (49, 1)):
        assert torch.equal(uniform(3, (1, 2), rows, 23, first), whole[first : first + rows])


def test_tables_of_other_seeds_and_streams_differ_and_are_even() -> None:
    tables = [uniform(*key, 4000, 4) for key in ((3, (1, 2)), (4, (1, 2)), (3, (2, 1)), (3, (1, 3)))]
    for index, table in enumerate(tables):
        # The mean of 16000 uniform numbers is 0.5 up to 0.0023 (one standard deviation).
        assert abs(float(table.mean()) - 0.5) < 0.01
        assert 0 <= float(table.min()) < float(table.max()) < 1
        assert not any(torch.equal(table, other) for other in tables[index + 1 :])


def test_the_numbers_are_those_of_numpys_philox_and_never_change() -> None:
    """Pinned: stored labels refer to these draws. NumPy promises never to change the raw stream."""
    raw = np.random.Philox(key=np.array([5, 0], np.uint64), counter=np.array([6, 0, 1, 2], np.uint64)).random_raw(4)
    expected = torch.tensor([(int(word) >> 11) / 2**53 for word in raw], dtype=torch.float64)
    assert torch.equal(uniform(5, (1, 2), 1, 4, first=6)[0], expected)
    assert uniform(2**63 + 1, (0, 0), 1, 1).item() != uniform(2**63, (0, 0), 1, 1).item()


@pytest.mark.parametrize("seed", [-1, 2**64, True])
def test_a_seed_that_is_no_counter_is_refused(seed: int) -> None:
    with pytest.raises(BadInput, match="seed of a counter-based draw"):
        uniform(seed, (0, 0), 1, 1)


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own() -> None:
    orders = [RULE.epoch(epoch)["indices"] for epoch in range(2)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(23))
    assert not torch.equal(*orders)


def test_the_view_of_an_image_does_not_depend_on_its_place_or_on_the_others() -> None:
    drawn = RULE.epoch(3)
    for place, image in enumerate(drawn["indices"].tolist()):
        crop, flip = RULE.views(3, image, 1)
        assert torch.equal(drawn["crop"][place], crop[0])
        assert torch.equal(drawn["flip"][place], flip[0])
    larger = Regions(count=40, shape=(3, 16, 20), batch=5, seed=7)
    assert torch.equal(larger.views(3, 0, 23)[0], RULE.views(3, 0, 23)[0])


def test_boxes_are_those_of_a_random_resized_crop_of_the_same_numbers() -> None:
    crop = RandomResizedCrop((0.08, 1.0))
    boxes = crop.boxes((16, 20), Draw(uniform(7, (1, 0), 23, 23)))
    torch.testing.assert_close(RULE.views(0, 0, 23)[0], (boxes / torch.tensor([16, 20, 16, 20])).float())
    assert not Regions(count=23, shape=(3, 16, 20), batch=8, seed=7, flip=False).views(0, 0, 23)[1].any()


def test_a_step_is_mixed_by_a_box_of_its_area_with_a_permutation_of_itself() -> None:
    weights = []
    for step in range(RULE.steps):
        mix = RULE.mixed(2, step)
        assert mix is not None
        size = 8 if step < 2 else 7
        assert torch.equal(mix.partner.sort().values, torch.arange(size))
        assert mix.box is not None
        assert mix.weight == pytest.approx(1 - int(mix.box[2] * mix.box[3]) / 320)
        weights.append(mix.weight)
    assert len(set(weights)) > 1


def test_weights_follow_their_beta_distribution() -> None:
    """With alpha 1 the weight is even, and the numbers of CutMix.at are its place and its centre."""
    mix = CutMix().at((0.75, 0.5, 0.5), torch.arange(2), (3, 16, 20))
    assert mix.box is not None
    assert mix.box.tolist() == [4, 5, 8, 10]  # a quarter of the area, half of each side, around the centre
    weights = torch.tensor(
        [
            float(Regions(4, (1, 4, 4), 4, seed, mix={"kind": "mixup", "alpha": 0.8}).mixed(0, 0).weight)  # type: ignore[union-attr]
            for seed in range(400)
        ]
    )
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)).
    assert float(weights.mean()) == pytest.approx(0.5, abs=0.06)
    assert float(weights.var()) == pytest.approx(1 / (4 * 2.6), rel=0.25)


def test_a_last_step_of_one_image_joins_the_one_before() -> None:
    alone = Regions(count=17, shape=(3, 8, 8), batch=8, seed=0)
    assert (alone.steps, alone.rows(0), alone.rows(1)) == (2, slice(0, 8), slice(8, 17))
    assert Regions(count=18, shape=(3, 8, 8), batch=8, seed=0).steps == 3
    assert Regions(count=1, shape=(3, 8, 8), batch=8, seed=0).steps == 1
    with pytest.raises(BadInput, match="has 2 steps, step 2 was asked"):
        alone.rows(2)


def test_groups_of_batch_statistics_leave_no_sample_alone() -> None:
    rule = Regions(count=17, shape=(3, 8, 8), batch=8, seed=0, norm_group=4)
    assert rule.groups(0).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]  # type: ignore[union-attr]
    assert rule.groups(1).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]  # type: ignore[union-attr]
    assert RULE.groups(0) is None


def test_regions_of_one_image_stand_side_by_side_and_are_mixed_with_each_other() -> None:
    rule = Regions(count=5, shape=(3, 8, 8), batch=6, seed=2, crops=3, same_image=True, mix={"kind": "cutmix"})
    drawn = rule.epoch(0)
    assert rule.samples == 15
    assert torch.equal(drawn["indices"].view(5, 3), drawn["indices"].view(5, 3)[:, :1].expand(5, 3))
    for step in range(rule.steps):
        mix = rule.mixed(0, step)
        assert mix is not None
        images = drawn["indices"][rule.rows(step)]
        assert torch.equal(images, images[mix.partner])
        assert not (mix.partner == torch.arange(len(images))).any()
    assert len({tuple(box) for box in drawn["crop"].tolist()}) > 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 0}, "must be at least 1"),
        ({"crops": 3}, "a multiple of the crops"),
        ({"same_image": True}, "at least two crops"),
        ({"norm_group": 1}, "norm_group=1"),
        ({"scale": (0.5, 2.0)}, "ends at 1"),
        ({"mix": {"kind": "blend"}}, "blend"),
        ({"mix": {"kind": "cutmix", "probability": 0.5}}, "in every step or in none"),
    ],
)
def test_a_rule_that_does_not_fit_itself_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Regions(**{"count": 9, "shape": (3, 8, 8), "batch": 4, "seed": 0, **change})  # type: ignore[arg-type]


def test_a_rule_goes_to_plain_values_and_back_and_another_version_is_refused() -> None:
    assert Regions.from_spec(RULE.spec()).spec() == RULE.spec()
    with pytest.raises(BadInput, match="follow version 2"):
        Regions.from_spec(RULE.spec() | {"version": 2})


def test_a_step_carries_its_draws_and_its_answers_and_goes_round() -> None:
    labels = region_labels(rng(), norm_group=2)
    drawn, stored = labels.regions.epoch(1), labels.shards.read(1)
    batch = labels.view(3, 1, PICK)  # epoch 3 of 2 is epoch 1 again
    rows = slice(4, 9)  # the ninth image joins the second step
    assert torch.equal(batch.indices, drawn["indices"][rows])
    assert torch.equal(batch.crop, drawn["crop"][rows])  # type: ignore[arg-type]
    assert torch.equal(batch.flip, drawn["flip"][rows])  # type: ignore[arg-type]
    assert torch.equal(batch.target, stored["target"][rows].float())  # type: ignore[arg-type]
    assert batch.mix is not None
    assert torch.equal(batch.mix.partner, labels.regions.mixed(1, 1).partner)  # type: ignore[union-attr]
    assert batch.norm_group.tolist() == [0, 0, 1, 1, 1]  # type: ignore[union-attr]
    assert (labels.steps(0), labels.batch, isinstance(labels, Dictating)) == (2, 4, True)


def test_only_answers_are_stored() -> None:
    labels = region_labels(rng(), epochs=3)
    assert labels.nbytes() == 3 * COUNT * len(CLASSES) * 2
    quantised = region_labels(rng(), epochs=3, codec=Codec("smoothed", k=2))
    assert quantised.nbytes() == 3 * COUNT * 2 * (2 + 2)  # an index and a value of two bytes for each of two


def test_a_store_of_another_rule_is_refused() -> None:
    labels = region_labels(rng())
    other = Regions(count=8, shape=SHAPE, batch=4, seed=11)
    with pytest.raises(BadInput, match="the rule and the codec need"):
        RegionLabels(other, labels.shards, len(CLASSES)).view(0, 0, PICK)
    with pytest.raises(BadInput, match="the store is empty"):
        RegionLabels(other, [], len(CLASSES))  # type: ignore[arg-type]


def test_an_epoch_with_answers_that_are_none_is_refused() -> None:
    labels = region_labels(rng())
    broken = {"target": torch.full_like(labels.shards.read(1)["target"], float("nan"))}
    found = RegionLabels(labels.regions, [labels.shards.read(0), broken], len(CLASSES))  # type: ignore[arg-type]
    found.view(0, 0, PICK)
    with pytest.raises(BadInput, match="epoch 1 of the region labels has values of target that are not finite"):
        found.view(1, 0, PICK)


def test_classes_are_kept_small_and_must_fit() -> None:
    labels = region_labels(rng())
    classed = RegionLabels(labels.regions, labels.shards, 3, classes=torch.arange(COUNT) // 3)
    assert classed.hard().dtype == torch.int64
    assert classed.nbytes() == labels.nbytes() + COUNT
    with pytest.raises(BadInput, match="one class for each of the 9 images"):
        RegionLabels(labels.regions, labels.shards, 3, classes=torch.zeros(8, dtype=torch.int64))
    with pytest.raises(BadInput, match=r"classes lie in \[0, 3\)"):
        RegionLabels(labels.regions, labels.shards, 3, classes=torch.full((COUNT,), 3))
