"""The loss of the images: against hooks written out, by hand, by numerical derivatives, and in chunks."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense import networks
from condense.errors import BadInput
from condense.networks import Network
from condense.preprocessing import identity, normalise
from condense.recovery import Moments, Objective, Observed, statistics_gap

NETWORKS = [
    "convnet-d2:width=4,norm=batch",
    "resnet10:width=4,norm=batch",
    "mobilenet-v2:width=10",
    "densenet-121:growth=2",
]
SHAPE, CLASSES = (3, 8, 8), 4
Batch = tuple[Tensor, Tensor]
Build = Callable[..., Network]


def by_hooks(network: Network, images: Tensor, labels: Tensor, weight: float, first: float) -> Tensor:
    """The published loop: a hook on every batch norm reads its input."""
    gaps: list[Tensor] = []

    def hook(layer: nn.BatchNorm2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        channels = inputs[0].transpose(0, 1).flatten(1)  # (C, N*h*w)
        mean, variance = channels.mean(1), channels.var(1, unbiased=False)
        gaps.append((layer.running_mean - mean).norm() + (layer.running_var - variance).norm())

    network = copy.deepcopy(network).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(hook)
    entropy = F.cross_entropy(network(images), labels)
    return entropy + weight * (first * gaps[0] + sum(gaps[1:]))


@pytest.mark.parametrize("name", NETWORKS)
def test_loss_and_gradient_are_those_of_hooks(name: str, batch: Batch, with_statistics: Build) -> None:
    network = with_statistics(name)
    images, labels = batch
    leaf = images.clone().requires_grad_()
    expected = by_hooks(network, leaf, labels, 0.3, 10.0)
    (slope,) = torch.autograd.grad(expected, leaf)
    found, gradient = Objective([Observed(network)], [1.0], 0.3).gradient(images, labels)
    torch.testing.assert_close(found.total, expected.detach(), rtol=1e-10, atol=1e-10)  # float64, other order of sums
    torch.testing.assert_close(gradient, slope, rtol=1e-10, atol=1e-10)


def test_a_single_norm_by_hand() -> None:
    """Pixels 1 and 3 in one channel, 2 and 6 in the other: means 2, 4 and variances 1, 4."""
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten()).double()
    network[0].running_mean.copy_(torch.tensor([5.0, 8.0]))  # 3 and 4 away
    network[0].running_var.copy_(torch.tensor([6.0, 16.0]))  # 5 and 12 away
    images = torch.tensor([[[[1.0, 3.0]], [[2.0, 6.0]]]], dtype=torch.float64)
    moments = Observed(network)(images).moments
    assert [layer.mean.tolist() for layer in moments] == [[2.0, 4.0]]
    assert [layer.variance.tolist() for layer in moments] == [[1.0, 4.0]]
    assert statistics_gap(moments, 10.0).item() == 10.0 * (5.0 + 13.0)


def test_only_the_first_layer_is_multiplied() -> None:
    zero, three, four = (torch.tensor([value]) for value in (0.0, 3.0, 4.0))
    layers = [Moments(three, zero, zero, zero), Moments(four, four, zero, zero)]
    assert statistics_gap(layers, 10.0).item() == 30.0 + 8.0
    assert statistics_gap(layers, 1.0).item() == 3.0 + 8.0


def test_statistics_that_agree_have_no_gap_and_a_finite_gradient() -> None:
    mean = torch.ones(3, requires_grad=True)
    gap = statistics_gap([Moments(mean, torch.ones(3), torch.ones(3), torch.ones(3))])
    gap.backward()
    assert gap.item() == 0.0
    assert mean.grad is not None
    assert bool(mean.grad.isfinite().all())


def test_the_gradient_is_the_derivative(batch: Batch, with_statistics: Build) -> None:
    observed = Observed(with_statistics("convnet-d1:width=3,norm=batch,activation=softplus", shape=(1, 4, 4)))
    objective = Objective([observed], [1.0], 0.5)
    images = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([0, 1, 2])
    assert torch.autograd.gradcheck(lambda x: objective(x, labels).total, (images.requires_grad_(),))


@pytest.mark.parametrize(("name", "chunk"), [(NETWORKS[0], 1), (NETWORKS[0], 7), *((name, 4) for name in NETWORKS)])
def test_chunks_give_the_gradient_of_the_batch(name: str, chunk: int, batch: Batch, with_statistics: Build) -> None:
    teachers = [Observed(with_statistics(name, seed)) for seed in (0, 1)]
    whole = Objective(teachers, [0.7, 0.3], 0.2)
    parts = Objective(teachers, [0.7, 0.3], 0.2, chunk=chunk)
    expected, slope = whole.gradient(*batch)
    found, gradient = parts.gradient(*batch)
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, slope, rtol=1e-10, atol=1e-10)


def test_votes_weigh_whole_losses(batch: Batch, with_statistics: Build) -> None:
    one, two = (with_statistics(NETWORKS[0], seed) for seed in (0, 1))
    images, labels = batch
    expected = 0.9 * by_hooks(one, images, labels, 0.3, 10.0) + 0.1 * by_hooks(two, images, labels, 0.3, 10.0)
    objective = Objective([Observed(one), Observed(two)], [0.9, 0.1], 0.3)
    torch.testing.assert_close(objective(images, labels).total, expected, rtol=1e-10, atol=1e-10)
    found, gradient = objective.gradient(images, labels)
    torch.testing.assert_close(found.total, expected, rtol=1e-10, atol=1e-10)
    leaf = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(objective(leaf, labels).total, leaf)
    torch.testing.assert_close(gradient, slope, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_the_teacher_in_evaluation_mode(name: str, batch: Batch, with_statistics: Build) -> None:
    network = with_statistics(name)
    expected = network.eval()(batch[0])
    torch.testing.assert_close(Observed(network)(batch[0]).logits, expected, rtol=1e-10, atol=1e-10)


def test_the_teacher_is_left_as_it_was(batch: Batch, with_statistics: Build) -> None:
    network = with_statistics(NETWORKS[1]).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    layers = [type(layer) for layer in network.modules()]
    Objective([Observed(network)], [1.0], 1.0).gradient(*batch)
    assert [type(layer) for layer in network.modules()] == layers
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())


def test_a_teacher_of_another_space_is_given_its_own(batch: Batch, with_statistics: Build) -> None:
    network = with_statistics(NETWORKS[0])
    theirs = normalise((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    pixels = batch[0].sigmoid()
    expected = Observed(network)(theirs.forward(pixels))
    found = Observed(network, (identity(), theirs))(pixels)
    assert torch.equal(found.logits, expected.logits)


def test_a_teacher_without_batch_norm_is_refused() -> None:
    with pytest.raises(BadInput, match="ConvNet has no batch norm, so there are no statistics to recover images from"):
        Observed(networks.build("convnet-d1:width=3", SHAPE, CLASSES))
