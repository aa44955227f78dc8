"""A compiled recovery is the one that is not, up to the last bits.

What a compiler could get wrong: a node of the graph with a gradient of its own, which takes another way while it is
traced, statistics that are noted beside the maps, and one function for the networks of a committee.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch._dynamo
from torch import Tensor

from condense.networks import Network
from condense.preprocessing import normalise
from condense.recovery import Observed, Synthesis, convolutions, descend, placed
from condense.run import Run

# The last one has a convolution by minimal filtering, which is two graphs forward (the first call of a
# process meets other keys of dispatch) and one backward.
NETWORKS = ("convnet-d1:width=3,norm=batch", "convnet-d2:width=4,norm=batch", "convnet-d2:width=32,norm=batch")
GRAPHS = len(NETWORKS) + 3
SETTINGS = Synthesis(
    steps=3,
    lr=0.2,
    statistics_weight=0.3,
    first_multiplier=10.0,
    smallest_crop=0.5,
    flip=True,
    roll_from=0,
    roll_to=2,
    draws="batch",
    chunk=None,
)
SPACE = normalise((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
Batch = tuple[Tensor, Tensor]
Build = Callable[..., Network]

# PyTorch 2.13 makes an autograd function an object when it traces one, imports a deprecated module of its own, and
# warns of both itself; to be removed (2026-11).
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _own_graphs() -> Iterator[None]:
    """None that another test's stand-in for the compiler has made, and none left behind."""
    convolutions._convolved.cache_clear()
    yield
    convolutions._convolved.cache_clear()


def recovered(
    with_statistics: Build,
    batch: Batch,
    folder: Path,
    *,
    compile: bool,
    networks: tuple[str, ...] = NETWORKS,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The gradient of a committee's loss in the images, and the images after three steps."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()  # graphs of other tests in this process
    with Run(folder / f"{compile}", seed=5, compile=compile) as run:
        observed = [placed(Observed(with_statistics(name)), run) for name in networks]
        votes = [0.5, 0.3, 0.2][: len(networks)]
        objective = dataclasses.replace(SETTINGS, chunk=chunk).objective(observed, votes, run)
        _, gradient = objective.gradient(*batch)
        images = descend(*batch, objective, SETTINGS.views(True), SETTINGS.descent(), SPACE, run)
    return gradient, images


def test_the_traced_graph_recovers_the_same_images(
    batch: Batch, with_statistics: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that TorchInductor is handed, forward and backward as traced, but run operation by operation."""
    eager = recovered(with_statistics, batch, tmp_path, compile=False)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    traced = recovered(with_statistics, batch, tmp_path, compile=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == GRAPHS
    for found, expected in zip(traced, eager, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)  # float64, moments in other sums


@pytest.mark.parametrize(
    ("networks", "chunk"),
    [
        ((NETWORKS[1],), 4),
        (("resnet10:norm=batch,width=4",), None),
        pytest.param(("shufflenet-v2:width=50",), None, marks=pytest.mark.soak),
    ],
)
def test_every_kind_of_teacher_and_of_pass_becomes_whole_graphs(
    networks: tuple[str, ...],
    chunk: int | None,
    batch: Batch,
    with_statistics: Build,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What cannot be traced would be an error."""
    given = {"networks": networks, "chunk": chunk}
    eager = recovered(with_statistics, batch, tmp_path, compile=False, **given)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    traced = recovered(with_statistics, batch, tmp_path, compile=True, **given)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    for found, expected in zip(traced, eager, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("compile", "times"), [(True, 2), (False, 0)])
def test_memory_left_by_the_compiler_is_handed_back_in_the_first_steps_of_a_process(
    compile: bool, times: int, batch: Batch, with_statistics: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[None] = []
    monkeypatch.setattr("condense.recovery.blocks.allocator.give_back", lambda: given_back.append(None))
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    recovered(with_statistics, batch, tmp_path, compile=compile, networks=NETWORKS[:1])
    assert SETTINGS.steps > 2
    assert len(given_back) == times


@pytest.mark.soak  # compiling takes up to a minute
def test_the_machine_code_recovers_the_same_images(batch: Batch, with_statistics: Build, tmp_path: Path) -> None:
    eager = recovered(with_statistics, batch, tmp_path, compile=False)
    compiled = recovered(with_statistics, batch, tmp_path, compile=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == GRAPHS
    for found, expected in zip(compiled, eager, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
