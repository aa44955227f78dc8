"""What an unrolled training refuses, and a network as a function of one vector."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from condense import networks
from condense.errors import BadInput, UnknownName
from condense.flat import FlatNetwork
from condense.unroll import Engine, InnerLoop, Match, Segment, outer_loss


def test_a_vector_of_parameters_is_the_network() -> None:
    module = networks.build("convnet-d2:width=4", (3, 8, 8), 3, torch.Generator().manual_seed(0))
    network = FlatNetwork(module)
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    flat = network.flatten(module)
    assert flat.shape == (network.size,) == (networks.parameter_count(module),)
    torch.testing.assert_close(network.call(flat, images), module(images), rtol=0, atol=0)
    assert torch.equal(network.flatten(network.unflatten(flat)), flat)
    other = networks.build("convnet-d2:width=4", (3, 8, 8), 3, torch.Generator().manual_seed(2))
    network.load(other, flat)
    for again in (other, network.module(flat)):
        torch.testing.assert_close(again(images), module(images), rtol=0, atol=0)


def test_a_network_with_state_of_its_own_is_refused() -> None:
    module = networks.build("convnet-d2:width=4,norm=batch", (3, 8, 8), 3)
    with pytest.raises(BadInput, match="batch norm is not a function of its parameters alone"):
        FlatNetwork(module)


def test_dropout_is_refused() -> None:
    with pytest.raises(BadInput, match="dropout draws anew"):
        FlatNetwork(torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(2, 2)))


def test_parameters_of_another_architecture_are_refused() -> None:
    network = FlatNetwork(torch.nn.Linear(2, 3))
    with pytest.raises(BadInput, match="of another architecture: bias, weight differ"):
        network.flatten(torch.nn.Linear(2, 4))
    with pytest.raises(BadInput, match=r"expected a vector of 9 parameters, got shape \(8,\)"):
        network.unflatten(torch.zeros(8))


def test_an_inner_loop_refuses_what_it_cannot_do() -> None:
    network = FlatNetwork(torch.nn.Linear(2, 3))
    with pytest.raises(BadInput, match="at least one step"):
        InnerLoop(network, [])
    with pytest.raises(BadInput, match=r"momentum of the inner loop must lie in \[0, 1\), got 1.0"):
        InnerLoop(network, [torch.tensor([0])], momentum=1.0)


def test_a_segment_refuses_what_it_cannot_measure() -> None:
    start = torch.zeros(3)
    with pytest.raises(BadInput, match="at least one match"):
        Segment(start, ())
    with pytest.raises(BadInput, match="the target equals the start"):
        Segment(start, (Match(start.clone(), 1),))
    with pytest.raises(BadInput, match="equally long, got 3 and 2"):
        Segment(start, (Match(torch.ones(2), 1),))


def test_parts_that_do_not_fit_are_refused(problem: Any) -> None:
    given = problem()
    inner, segment = given.parts()
    images, labels, step_size = given.leaves()
    with pytest.raises(BadInput, match="after 1 to 3 inner steps, got 4"):
        outer_loss(inner, Segment(segment.start, (Match(segment.start + 1, 4),)), images, labels, step_size)
    with pytest.raises(BadInput, match="6 images and 5 labels"):
        outer_loss(inner, segment, images, labels[:5], step_size)
    with pytest.raises(BadInput, match="must be a scalar tensor"):
        outer_loss(inner, segment, images, labels, step_size.reshape(1))
    with pytest.raises(BadInput, match=r"images are torch.float32, parameters torch.float64"):
        outer_loss(inner, segment, images.float(), labels, step_size)
    other = replace(inner, network=FlatNetwork(torch.nn.Linear(2, 3)))
    with pytest.raises(BadInput, match="the network has 9 parameters"):
        outer_loss(other, segment, images, labels, step_size)
    with pytest.raises(UnknownName, match="did you mean adjoint"):
        Engine("adjoin")


@pytest.mark.parametrize(
    "fields", [{"graph_bytes": -1}, {"graph_bytes": 5, "compile": True}, {"graph_bytes": 5, "name": "unroll"}]
)
def test_memory_for_graphs_is_refused_where_none_are_kept(fields: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="graph_bytes is memory for the graphs of an uncompiled 'adjoint' or 'tesla'"):
        Engine(**fields)
