from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from device_traffic import AWAY, watched
from torch.nn import functional as F

from condense import augment, networks
from condense.augment import Mix
from condense.data import Split
from condense.distilled.labels import (
    Codec,
    Committee,
    CommitteeLabels,
    HardLabels,
    Member,
    QuantisedLabels,
    ReplayedLabels,
    Representations,
    SoftLabels,
    TeacherLabels,
)
from condense.errors import BadInput
from condense.preprocessing import identity, normalise
from condense.training import Loss, Recipe, Resident, Rng, SplitSource, on_device
from condense.training.batches import Batch, Batches
from condense.training.replay import replay_view

Stream = Callable[[int], Rng]
CPU = torch.device("cpu")


def batch_of(source: Resident, recipe: Recipe, rng: Rng, epoch: int = 0, step: int = 0) -> Batch:
    return Batches(source, recipe, rng, CPU)(epoch, step)


def test_an_epoch_visits_every_sample_once_and_keeps_the_last_batch(source: Resident, stream: Stream) -> None:
    marked = Resident(torch.arange(40.0).view(40, 1, 1, 1), source.labels, 4)
    batches = Batches(marked, Recipe(2, 16), stream(0), CPU)
    epochs = []
    for epoch in range(2):
        parts = [batches(epoch, step).images.flatten() for step in range(batches.steps_per_epoch)]
        assert [len(part) for part in parts] == [16, 16, 8]
        epochs.append(torch.cat(parts))
        assert torch.equal(epochs[-1].sort().values, torch.arange(40.0))
    assert not torch.equal(*epochs)


@pytest.mark.parametrize("mix", [None, {"kind": "mixup"}, {"kind": "cutmix"}])
@pytest.mark.parametrize("augment", [None, {"kind": "dsa"}, {"kind": "crop-flip"}, {"kind": "random-resized-crop"}])
def test_a_step_waits_for_no_device(augment: dict[str, str] | None, mix: dict[str, str] | None, stream: Stream) -> None:
    split = Split.from_arrays(torch.zeros(40, 3, 16, 16, dtype=torch.uint8), torch.arange(40) % 4, "abcd")
    part = split.to(AWAY).subset(
        torch.arange(3, 30)
    )  # as fine-tuning takes a share, and a teacher what is not held back
    source = on_device(SplitSource(part, normalise((0.5,) * 3, (0.25,) * 3)), AWAY)
    batches = Batches(source, Recipe(2, 8, augment=augment, mix=mix), stream(0), AWAY)
    batches(0, 0)  # an epoch begins by sending its order
    with watched() as waits:
        assert batches(0, 1).images.shape == (8, 3, 16, 16)
    assert waits == []


def test_a_batch_is_the_same_whatever_was_asked_before(source: Resident, stream: Stream) -> None:
    recipe = Recipe(3, 16, augment={"kind": "dsa"}, mix={"kind": "mixup"})
    batches = Batches(source, recipe, stream(0), CPU)
    for epoch, step in ((0, 0), (0, 1), (1, 0)):
        batches(epoch, step)
    found, fresh = batches(1, 2), batch_of(source, recipe, stream(0), 1, 2)
    assert torch.equal(found.images, fresh.images)
    assert torch.equal(found.target, fresh.target)


def test_mixing_mixes_images_and_targets_alike(source: Resident, stream: Stream) -> None:
    batch = batch_of(source, Recipe(1, 40, mix={"kind": "mixup"}), stream(0))
    order = torch.randperm(40, generator=stream(0)("order", 0))
    mix = augment.MixUp().draw(40, (3, 16, 16), stream(0)("mix", 0, 0))
    one_hot = F.one_hot(source.labels.hard()[order], 4).float()
    assert 0.0 < float(mix.weight) < 1.0
    torch.testing.assert_close(batch.target, augment.mix_targets(one_hot, mix))
    torch.testing.assert_close(batch.images, augment.MixUp().apply(source.images[order], mix))


def replayed(**fields: torch.Tensor) -> ReplayedLabels:
    epoch = {"indices": torch.tensor([5, 3, 3, 8]), "target": torch.randn(4, 4, generator=torch.Generator())}
    return ReplayedLabels([epoch | fields], batch=4)


def test_labels_that_dictate_a_view_win_over_the_recipe(source: Resident, stream: Stream) -> None:
    flip = torch.tensor([True, False, True, False])
    crop = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(4, 1)
    labels = replayed(flip=flip, crop=crop)
    drawing = Recipe(1, 4, augment={"kind": "dsa"}, loss=Loss("kl", 4.0))
    batch = batch_of(Resident(source.images[:4].repeat(3, 1, 1, 1)[:9], labels, 4), drawing, stream(0))
    images = source.images[:4].repeat(3, 1, 1, 1)[torch.tensor([5, 3, 3, 8])]
    expected = torch.where(flip.view(4, 1, 1, 1), images.flip(3), images)
    torch.testing.assert_close(batch.images, expected, rtol=0, atol=1e-5)  # a full crop is a resampling in place
    torch.testing.assert_close(batch.target, (labels.view(0, 0, torch.arange(4)).target / 4).softmax(1))


def test_labels_that_dictate_a_mix_are_already_mixed(source: Resident, stream: Stream) -> None:
    partner, weight = torch.tensor([3, 2, 1, 0]), torch.tensor([0.25])
    labels = replayed(partner=partner, mix_weight=weight)
    batch = batch_of(Resident(source.images[:9], labels, 4), Recipe(1, 4, mix={"kind": "cutmix"}), stream(0))
    images = source.images[torch.tensor([5, 3, 3, 8])]
    torch.testing.assert_close(batch.images, 0.25 * images + 0.75 * images[partner])
    torch.testing.assert_close(batch.target, labels.view(0, 0, torch.arange(4)).target.softmax(1))


def test_a_replayed_box_is_taken_from_the_partner(source: Resident, stream: Stream) -> None:
    fields = {
        "partner": torch.tensor([3, 2, 1, 0]),
        "mix_weight": torch.tensor([0.5]),
        "mix_box": torch.tensor([[2, 4, 3, 5]]),
    }
    batch = batch_of(Resident(source.images[:9], replayed(**fields), 4), Recipe(1, 4), stream(0))
    images = source.images[torch.tensor([5, 3, 3, 8])]
    expected = images.clone()
    expected[:, :, 2:5, 4:9] = images[fields["partner"]][:, :, 2:5, 4:9]
    assert torch.equal(batch.images, expected)


def test_a_replayed_crop_is_resized_to_the_full_image() -> None:
    ramp = torch.arange(16.0).view(1, 1, 1, 16).expand(2, 1, 16, 16)
    crops = torch.tensor([[0.0, 0.5, 1.0, 0.5], [0.0, 0.0, 1.0, 0.25]])
    found = replay_view(ramp, crops, torch.tensor([False, True]))
    # Half-pixel centres: output pixel j lies at (j + 0.5) * width / 16 - 0.5 within the crop, its border repeated.
    centres = torch.arange(16.0) + 0.5
    right_half = 8 + (centres / 2 - 0.5).clamp(0, 7)
    left_quarter = (centres / 4 - 0.5).clamp(0, 3).flip(0)
    torch.testing.assert_close(found[:, 0, 0], torch.stack([right_half, left_quarter]))


def test_groups_of_batch_statistics_come_from_the_labels(source: Resident, stream: Stream) -> None:
    groups = torch.tensor([0, 1, 0, 1])
    batch = batch_of(Resident(source.images[:9], replayed(norm_group=groups), 4), Recipe(1, 4), stream(0))
    assert batch.norm_group is not None
    assert torch.equal(batch.norm_group, groups)


def test_a_teacher_answers_for_the_images_as_they_are_trained_on(source: Resident, stream: Stream) -> None:
    teacher = networks.build("mlp:width=8", (3, 16, 16), 4, torch.Generator().manual_seed(1))
    labels = TeacherLabels("mlp:width=8", teacher.state_dict(), (3, 16, 16), 4, temperature=2.0)
    recipe = Recipe(1, 8, augment={"kind": "dsa"}, mix={"kind": "mixup"}, loss=Loss("kl", 5.0))
    batch = batch_of(Resident(source.images, labels, 4), recipe, stream(0))
    with torch.no_grad():  # at the temperature of the recipe, as stored logits are
        torch.testing.assert_close(batch.target, (teacher(batch.images) / 5).softmax(1))


def test_answers_of_a_committee_are_softened_as_stored_logits_are(source: Resident, stream: Stream) -> None:
    """Its own temperature counts only where it averages probabilities, and then no other one will do."""
    names = ("mlp:width=8", "mlp:width=6")
    space = identity()
    members = tuple(
        Member(name, networks.build(name, (3, 16, 16), 4, torch.Generator().manual_seed(1)).state_dict(), space)
        for name in names
    )
    logits = Committee(members, (3, 16, 16), 4, space, temperature=20.0)
    recipe = Recipe(1, 8, loss=Loss("kl", 5.0))
    asked = batch_of(Resident(source.images, CommitteeLabels(logits), 4), recipe, stream(0))
    stored = SoftLabels(logits.logits_for(source.images), form="logits")
    expected = batch_of(Resident(source.images, stored, 4), recipe, stream(0))
    torch.testing.assert_close(asked.target, expected.target)
    averaged = Committee(members, (3, 16, 16), 4, space, average="probabilities", temperature=20.0)
    soft = Resident(source.images, CommitteeLabels(averaged), 4)
    with pytest.raises(BadInput, match="probabilities at temperature 20, the recipe compares at 5; use a protocol"):
        batch_of(soft, recipe, stream(0))
    same = batch_of(soft, recipe.replace(loss=Loss("kl", 20.0)), stream(0))
    torch.testing.assert_close(same.target, averaged.targets_for(same.images))


def test_stored_probabilities_are_compared_at_their_own_temperature_alone(source: Resident, stream: Stream) -> None:
    soft = (torch.randn(40, 4) / 20).softmax(1)
    kinds = (
        SoftLabels(soft, temperature=20.0),
        QuantisedLabels.of(soft, Codec("smoothed", 2), "probabilities", temperature=20.0),
    )
    for labels in kinds:
        view = Resident(source.images, labels, 4)
        with pytest.raises(BadInput, match="probabilities at temperature 20, the recipe compares at 5"):
            batch_of(view, Recipe(1, 8, loss=Loss("kl", 5.0)), stream(0))
        batch_of(view, Recipe(1, 8, loss=Loss("kl", 20.0)), stream(0))
        batch_of(view, Recipe(1, 8), stream(0))  # cross-entropy softens nothing


def test_vectors_cannot_be_trained_on_as_classes(source: Resident, stream: Stream) -> None:
    vectors = Resident(source.images, Representations(torch.randn(40, 7)), 7)
    with pytest.raises(BadInput, match="the recipe needs the loss 'mse', got 'cross-entropy'"):
        batch_of(vectors, Recipe(1), stream(0))


def test_soft_labels_are_mixed_as_probabilities(source: Resident, stream: Stream) -> None:
    logits = torch.randn(40, 4, generator=torch.Generator().manual_seed(3))
    soft = Resident(source.images, SoftLabels(logits, form="logits"), 4)
    batch = batch_of(soft, Recipe(1, 40, mix={"kind": "mixup"}, loss=Loss("kl", 5.0)), stream(0))
    order = torch.randperm(40, generator=stream(0)("order", 0))
    mix: Mix = augment.MixUp().draw(40, (3, 16, 16), stream(0)("mix", 0, 0))
    torch.testing.assert_close(batch.target, augment.mix_targets((logits[order] / 5).softmax(1), mix))


def test_hard_labels_know_classes_that_no_image_has(source: Resident, stream: Stream) -> None:
    labels = HardLabels(torch.zeros(40, dtype=torch.int64), 4)
    batch = batch_of(Resident(source.images, labels, 4), Recipe(1, 8, mix={"kind": "cutmix"}), stream(0))
    assert batch.target.shape == (8, 4)


def test_logits_may_be_mixed_before_their_softmax(source: Resident, stream: Stream) -> None:
    """INFER: lambda z_i + (1 - lambda) z_j, and then the softmax at the temperature of the loss."""
    logits = torch.randn(40, 4, generator=torch.Generator().manual_seed(3))
    soft = Resident(source.images, SoftLabels(logits, form="logits"), 4)
    recipe = Recipe(1, 40, mix={"kind": "mixup", "alpha": 0.8, "of_logits": True}, loss=Loss("kl", 5.0))
    order = torch.randperm(40, generator=stream(0)("order", 0))
    mix = augment.MixUp(0.8).draw(40, (3, 16, 16), stream(0)("mix", 0, 0))
    expected = (augment.mix_targets(logits[order], mix) / 5).softmax(1)
    torch.testing.assert_close(batch_of(soft, recipe, stream(0)).target, expected)
    probabilities = Resident(source.images, SoftLabels(logits.softmax(1), temperature=5.0), 4)
    mixed = augment.mix_targets(logits.softmax(1)[order], mix)  # what is no logit is mixed as it is
    torch.testing.assert_close(batch_of(probabilities, recipe, stream(0)).target, mixed)
