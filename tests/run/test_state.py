from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, defaultdict
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from condense.errors import BadInput, Diverged
from condense.run import State

CPU = torch.device("cpu")


def saved(state: State) -> tuple[Any, dict[str, torch.Tensor]]:
    """What a checkpoint holds: text and copies."""
    tree, tensors = state.save()
    return json.loads(json.dumps(tree, allow_nan=False)), {name: tensor.clone() for name, tensor in tensors.items()}


def test_plain_values_and_nested_ones_come_back_with_their_types() -> None:
    values = {"a": [1, (2.5, "x"), {"k": None, 3: True}], "inf": math.inf, "tiny": 5e-324, "third": 1 / 3}
    state = State(**values)
    kept = saved(state)
    other = State(a=0, inf=0.0, tiny=0.0, third=0.0)
    other.restore(*kept, CPU)
    assert {name: getattr(other, name) for name in values} == values
    assert isinstance(other.a[1], tuple)


def test_nan_comes_back_as_nan() -> None:
    state = State(best=math.nan)
    kept = saved(state)
    state.best = 1.0
    state.restore(*kept, CPU)
    assert math.isnan(state.best)


def test_tensors_are_restored_in_place_so_that_others_see_it() -> None:
    images = torch.zeros(3, requires_grad=True)
    state = State(images=images)
    with torch.no_grad():
        images.fill_(2.0)
    kept = saved(state)
    fresh = torch.zeros(3, requires_grad=True)
    other = State(images=fresh)
    other.restore(*kept, CPU)
    assert other.images is fresh
    assert fresh.tolist() == [2.0, 2.0, 2.0]
    assert fresh.is_leaf


def test_a_tensor_that_grew_or_was_none_is_made_anew() -> None:
    state = State(best=None, rows=torch.zeros(1))
    state.best = torch.ones(2, dtype=torch.float64, requires_grad=True)
    state.rows = torch.arange(3.0)
    kept = saved(state)
    other = State(best=None, rows=torch.zeros(1))
    other.restore(*kept, CPU)
    assert other.best.requires_grad
    torch.testing.assert_close(other.best.detach(), torch.ones(2, dtype=torch.float64))
    assert other.rows.tolist() == [0.0, 1.0, 2.0]


def test_two_names_of_one_tensor_stay_one_and_two_tensors_stay_two() -> None:
    together = torch.zeros(2)
    state = State(a=together, b=together)
    kept_together = saved(state)
    state.b = torch.ones(2)
    kept_apart = saved(state)
    for kept, same in ((kept_together, True), (kept_apart, False)):
        start = torch.full((2,), 7.0)
        other = State(a=start, b=start)
        other.restore(*kept, CPU)
        assert (other.a is other.b) is same
        assert other.a.tolist() == [0.0, 0.0]
        assert other.b.tolist() == ([0.0, 0.0] if same else [1.0, 1.0])


def trained(steps: int, seed: int) -> tuple[nn.Module, torch.optim.Optimizer, torch.Generator, np.random.Generator]:
    torch_draws, numpy_draws = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch_draws))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1, betas=(0.8, 0.9))
    for _ in range(steps):
        descend(network, optimizer, torch_draws, numpy_draws)
    return network, optimizer, torch_draws, numpy_draws


def descend(
    network: nn.Module, optimizer: torch.optim.Optimizer, draws: torch.Generator, numpy_draws: np.random.Generator
) -> None:
    inputs = torch.randn(5, 3, generator=draws) + float(numpy_draws.normal())
    optimizer.zero_grad()
    network(inputs).square().sum().backward()
    optimizer.step()


def test_network_optimiser_and_generators_go_on_as_if_nothing_had_happened() -> None:
    names = ("network", "optimizer", "draws", "numpy_draws")
    first = State(**dict(zip(names, trained(3, 0), strict=True)))
    first.network.eval()
    kept = saved(first)
    second = State(**dict(zip(names, trained(0, 1), strict=True)))
    weight = second.network[0].weight
    second.restore(*kept, CPU)
    assert second.network[0].weight is weight
    assert not second.network[1].training
    for state in (first, second):
        state.network.train()
        descend(state.network, state.optimizer, state.draws, state.numpy_draws)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def test_lists_keep_their_identity() -> None:
    pool = [torch.zeros(1), torch.zeros(1)]
    state = State(pool=pool, ages={"a": 1})
    state.pool.append(torch.ones(1))
    kept = saved(state)
    fresh = [torch.zeros(1), torch.zeros(1)]
    other = State(pool=fresh, ages={})
    other.restore(*kept, CPU)
    assert other.pool is fresh
    assert [float(tensor) for tensor in fresh] == [0.0, 0.0, 1.0]
    assert other.ages == {"a": 1}


def test_an_undeclared_name_is_refused() -> None:
    state = State(a=1)
    with pytest.raises(BadInput, match=r"no 'b'; give it a first value in run\.state\(b=\.\.\.\)"):
        state.b = 2
    with pytest.raises(AttributeError, match=r"no 'b'; it was made of \['a'\]"):
        _ = state.b


def test_a_network_that_comes_later_is_refused_when_it_is_saved() -> None:
    state = State(best=None)
    state.best = nn.Linear(1, 1)
    with pytest.raises(BadInput, match=r"state\.best changed its kind after run\.state"):
        state.save()


def test_another_network_is_refused_by_name() -> None:
    kept = saved(State(network=nn.Linear(2, 2)))
    with pytest.raises(BadInput, match=r"state\.network is another network than the saved one \(first at \['bias'\]\)"):
        State(network=nn.Linear(2, 3)).restore(*kept, CPU)
    with pytest.raises(BadInput, match=r"state\.network was saved as a module and is now a int; start anew"):
        State(network=3).restore(*kept, CPU)


def test_things_that_cannot_be_restored_are_refused() -> None:
    with pytest.raises(BadInput, match=r"state\.thing is a object, which cannot be restored"):
        State(thing=object()).save()
    with pytest.raises(BadInput, match="keys are texts or whole numbers"):
        State(thing={(1, 2): 3}).save()


class Pair(NamedTuple):
    first: int
    second: int


class Level(IntEnum):
    LOW = 1


class Marked(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "value",
    [
        Pair(1, 2),
        Level.LOW,
        np.float32(0.1),
        np.float64(0.1),
        np.int64(1),
        np.str_("a"),
        torch.Size([1, 2]),
        defaultdict(int),
        torch.zeros(1).as_subclass(Marked),
    ],
)
def test_a_value_that_would_come_back_as_another_type_is_refused(value: Any) -> None:
    message = rf"state\.things\[1\] is a {type(value).__name__}, which cannot be restored as such; keep tensors and"
    with pytest.raises(BadInput, match=message):
        State(things=[0, value]).save()


@pytest.mark.parametrize("key", [True, Level.LOW, np.str_("a")])
def test_a_key_that_would_come_back_as_another_type_is_refused(key: Any) -> None:
    with pytest.raises(BadInput, match="keys are texts or whole numbers"):
        State(things={key: 1}).save()


def test_what_is_made_anew_has_its_type_again() -> None:
    values = {
        "ordered": OrderedDict(b=1, a=2),
        "counts": Counter({5: 2, 3: 1}),
        "weight": nn.Parameter(torch.ones(2), requires_grad=False),
    }
    state = State(nested=values)
    kept = saved(state)
    other = State(nested=None)
    other.restore(*kept, CPU)
    assert {name: type(value) for name, value in other.nested.items()} == {
        name: type(value) for name, value in values.items()
    }
    assert list(other.nested["ordered"]) == ["b", "a"]
    assert other.nested["counts"] == values["counts"]
    assert not other.nested["weight"].requires_grad


def test_a_schedule_of_pytorch_goes_on_as_if_nothing_had_happened() -> None:
    def start() -> State:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        return State(optimizer=optimizer, schedule=torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 2, 4]))

    def go_on(state: State) -> list[float]:
        rates = []
        for _ in range(3):
            state.optimizer.step()
            state.schedule.step()
            rates.append(state.schedule.get_last_lr()[0])
        return rates

    state = start()
    state.optimizer.step()
    state.schedule.step()
    kept = saved(state)
    other = start()
    other.optimizer.step()  # or the schedule warns that it was asked first
    other.restore(*kept, CPU)
    assert type(other.schedule.milestones) is Counter
    assert go_on(other) == go_on(state)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_named(bad: float) -> None:
    network = nn.Linear(2, 1)
    state = State(images=torch.zeros(2), pool=[network], best=math.inf)
    state.check_finite("match, step 3")
    with torch.no_grad():
        network.bias.fill_(bad)
    with pytest.raises(Diverged, match=r"match, step 3: pool\[0\]\.bias is not finite"):
        state.check_finite("match, step 3")


def test_infinities_in_buffers_are_masks_not_divergence() -> None:
    network = nn.Linear(2, 1)
    network.register_buffer("mask", torch.tensor([-math.inf, 0.0]), persistent=False)
    State(network=network).check_finite("match, step 0")


def test_tensors_that_are_made_anew_lie_in_memory_as_they_did() -> None:
    kernel = torch.arange(24.0).view(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    state = State(momentum=None, part=None)
    state.momentum, state.part = kernel, kernel[:, 1:]
    kept = saved(state)
    other = State(momentum=None, part=None)
    other.restore(*kept, CPU)
    assert torch.equal(other.momentum, kernel)
    assert other.momentum.stride() == kernel.stride()
    assert torch.equal(other.part, kernel[:, 1:])  # a part of a larger tensor lies by itself
    assert other.part.is_contiguous()
