"""A pool of networks: how its members age, and what an update of one leaves behind."""

from __future__ import annotations

import torch
from torch import nn

from condense import networks
from condense.pool import Pool


def test_a_member_is_trained_until_it_is_old_and_then_born_again() -> None:
    network = networks.build("convnet-d1:width=4,norm=batch", (1, 4, 4), 2)
    pool = Pool([network], lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), oldest=2)
    images, targets = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.ones(5, 2)
    fresh = networks.build("convnet-d1:width=4,norm=batch", (1, 4, 4), 2, torch.Generator().manual_seed(7))
    ages = []
    for _ in range(4):
        pool.advance(0, images, targets, torch.Generator().manual_seed(7))
        ages.append(pool.ages[0])
        assert not network.training
        if pool.ages[0] == 0:
            pairs = zip(network.state_dict().values(), fresh.state_dict().values(), strict=True)
            assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
            assert not pool.optimisers[0].state
    assert ages == [1, 2, 0, 1]
    assert network.blocks[0].norm.num_batches_tracked == 1  # statistics come from updates alone


def test_a_member_that_is_reborn_old_is_never_trained_again() -> None:
    network = networks.build("convnet-d1:width=4,norm=batch", (1, 4, 4), 2)
    pool = Pool([network], lambda p: torch.optim.SGD(p, lr=0.1), oldest=1, reborn_old=True)
    images, targets = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.ones(5, 2)
    ages = []
    for step in range(3):
        pool.advance(0, images, targets, torch.Generator().manual_seed(step))
        ages.append(pool.ages[0])
    assert ages == [1, 1, 1]
    fresh = networks.build("convnet-d1:width=4,norm=batch", (1, 4, 4), 2, torch.Generator().manual_seed(2))
    pairs = zip(network.parameters(), fresh.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_an_update_of_a_member_leaves_no_gradient_behind() -> None:
    pool = Pool([networks.build("mlp", (1, 4, 4), 2)], lambda p: torch.optim.SGD(p, lr=0.1), oldest=2)
    images, targets = torch.ones(3, 1, 4, 4, requires_grad=True), torch.ones(3, 2, requires_grad=True)
    before = nn.functional.mse_loss(pool.members[0](images), targets)
    pool.update(0, images, targets)
    assert nn.functional.mse_loss(pool.members[0](images), targets) < before
    assert images.grad is None
    assert targets.grad is None
    assert all(parameter.grad is None for parameter in pool.members[0].parameters())
