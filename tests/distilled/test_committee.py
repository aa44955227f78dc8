"""Networks that answer together: averages, pixel spaces and batch statistics."""

from __future__ import annotations

import copy

import pytest
import torch
from label_cases import CLASSES, SHAPE, committee
from torch.nn import functional as F

from condense import networks
from condense.distilled.labels import Committee, CommitteeLabels, Member, use_batch_statistics
from condense.errors import BadInput
from condense.preprocessing import Preprocessing, identity

IMAGES = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(4))


def wise(**rest: object) -> Committee:
    return committee(torch.Generator().manual_seed(5), **rest)


def members_answers(asked: Committee, *, train: bool = False) -> list[torch.Tensor]:
    """Written out: each member alone, on pixels in its own space."""
    found = []
    for member in asked.members:
        module = networks.build(member.network, SHAPE, len(CLASSES))
        module.load_state_dict(dict(member.state))
        module.train(train)
        with torch.no_grad():
            found.append(module(member.space.forward(asked.space.inverse(IMAGES))))
    return found


def test_logits_are_averaged_by_weight() -> None:
    first, second = members_answers(wise())
    torch.testing.assert_close(wise().logits_for(IMAGES), 0.75 * first + 0.25 * second)
    torch.testing.assert_close(wise(weights=None).logits_for(IMAGES), (first + second) / 2)


def test_weights_that_add_up_to_1_stay_as_they_are() -> None:
    """Stored and restored, they are the same numbers; so a set of such labels is found sound."""
    votes = (0.7633744681987355, 0.23662553180126455)
    third = (1 / 3, 1.1)
    for weights in (votes, third, (0.1, 0.7)):
        once = wise(weights=weights)
        assert once.weights is not None
        assert wise(weights=once.weights).weights == once.to("cpu").weights == once.weights
    assert wise(weights=votes).weights == votes
    assert wise(weights=(3.0, 1.0)).weights == (0.75, 0.25)


def test_probabilities_are_averaged_as_meal_v2_does() -> None:
    asked = wise(average="probabilities", weights=None, temperature=1.0)
    mean = torch.stack([answers.softmax(1) for answers in members_answers(asked)]).mean(0)
    torch.testing.assert_close(asked.targets_for(IMAGES), mean)
    torch.testing.assert_close(asked.logits_for(IMAGES).softmax(1), mean)


def test_targets_are_softened_by_the_temperature() -> None:
    torch.testing.assert_close(wise().targets_for(IMAGES), (wise().logits_for(IMAGES) / 2).softmax(1))


def test_batch_statistics_are_those_of_the_images_asked_about_and_nothing_is_remembered() -> None:
    asked = wise(statistics="batch", weights=None)
    states = copy.deepcopy([module.state_dict() for module in asked._modules])
    expected = torch.stack(members_answers(asked, train=True)).mean(0)
    torch.testing.assert_close(asked.logits_for(IMAGES), expected)
    for module, state in zip(asked._modules, states, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_answers_for_many_are_the_same_but_for_rounding(statistics: str) -> None:
    asked = wise(statistics=statistics)
    many = asked.for_many("cpu")
    torch.testing.assert_close(many.logits_for(IMAGES), asked.logits_for(IMAGES))
    weights = [weight for module in many._modules for weight in module.parameters() if weight.ndim == 4]
    assert any(not weight.is_contiguous() for weight in weights)
    assert all(weight.is_contiguous() for module in asked._modules for weight in module.parameters())


def test_batch_statistics_need_a_batch_norm() -> None:
    module = networks.build("mlp", SHAPE, len(CLASSES), torch.Generator().manual_seed(0))
    member = Member("mlp", module.state_dict(), identity())
    with pytest.raises(BadInput, match="mlp has no batch norm, so no batch statistics"):
        Committee((member,), SHAPE, len(CLASSES), identity(), statistics="batch")


def test_each_group_has_statistics_of_its_own() -> None:
    asked = wise(statistics="batch")
    groups = torch.tensor([0, 1, 0, 1, 0, 1])
    found = asked.logits_for(IMAGES, groups)
    torch.testing.assert_close(found[groups == 1], asked.logits_for(IMAGES[groups == 1]))
    assert not torch.allclose(found, asked.logits_for(IMAGES))
    torch.testing.assert_close(wise().logits_for(IMAGES, groups), wise().logits_for(IMAGES))  # running ones ignore them


def test_only_batch_norm_layers_leave_evaluation_mode() -> None:
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Dropout(0.5), torch.nn.Flatten()).eval()
    flat = use_batch_statistics(module)(IMAGES)
    torch.testing.assert_close(flat, F.batch_norm(IMAGES, None, None, training=True).flatten(1))


def test_a_committee_that_does_not_fit_itself_is_refused(whitened: Preprocessing) -> None:
    with pytest.raises(BadInput, match="at least one member"):
        Committee((), SHAPE, 3, wise().space)
    with pytest.raises(BadInput, match="one weight of at least 0 for each of 2 members"):
        wise(weights=(1.0,))
    with pytest.raises(BadInput, match="got 'votes'"):
        wise(average="votes")
    broken = Member("mlp", wise().members[0].state, wise().space)
    with pytest.raises(BadInput, match="does not fit 'mlp'"):
        Committee((broken,), SHAPE, 3, wise().space)
    foreign = Member(wise().members[0].network, wise().members[0].state, whitened)
    with pytest.raises(BadInput, match="the set's own pixel space"):
        CommitteeLabels(Committee((foreign,), SHAPE, 3, wise().space))


def test_labels_by_a_committee_weigh_as_much_as_its_members() -> None:
    labels = CommitteeLabels(wise(), torch.arange(6) % 3)
    assert labels.nbytes() == sum(member.nbytes() for member in wise().members) + 6
    torch.testing.assert_close(labels.answers_for(IMAGES), wise().logits_for(IMAGES))
    averaged = CommitteeLabels(wise(average="probabilities"))
    torch.testing.assert_close(averaged.answers_for(IMAGES), averaged.committee.targets_for(IMAGES))
    assert (labels.softened_at, averaged.softened_at) == (None, 2.0)
    assert labels.hard().tolist() == [0, 1, 2, 0, 1, 2]


@pytest.fixture
def whitened(train: object) -> Preprocessing:
    return Preprocessing("zca", epsilon=0.1, shape=SHAPE, fingerprint="0" * 64)
