"""What a student sees: minibatches, mirror images, augmentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from condense import networks
from condense.augment import DSA, Augmentation, NoAugmentation
from condense.budget import Budget
from condense.data import Split
from condense.errors import BadInput
from condense.flat import FlatNetwork
from condense.methods import mtt
from condense.progress import NoProgress
from condense.run import Run
from condense.trajectories import Student, student_of
from condense.unroll import Engine
from condense.unroll.choice import Choice


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _student(augment: Augmentation, mirror: bool, batch: int | None, steps: int = 3) -> Student:
    network = FlatNetwork(networks.build("convnet:width=2", (3, 8, 8), 10))
    return Student(network, augment, mirror, steps, batch)


IMAGES = torch.randn(10, 3, 8, 8, generator=_generator())  # CIFAR-10's shape in small, one image per class
LABELS = torch.arange(10)


def test_fyi_takes_half_of_the_images_and_joins_their_mirror_images() -> None:
    inner = _student(NoAugmentation(), True, None).loop(IMAGES, _generator())
    for step, rows in enumerate(inner.batches):
        assert len(rows) == 5
        images, labels = inner.prepare(step, IMAGES[rows], LABELS[rows])
        assert torch.equal(images[:5], IMAGES[rows])
        assert torch.equal(images[5:], IMAGES[rows].flip(3))
        assert torch.equal(labels, torch.cat([rows, rows]))


def test_the_gradient_reaches_an_image_through_both_copies() -> None:
    inner = _student(NoAugmentation(), True, 4).loop(IMAGES, _generator())
    batch = IMAGES[inner.batches[0]].clone().requires_grad_()
    images, _ = inner.prepare(0, batch, LABELS[inner.batches[0]])
    weights = torch.randn(images.shape, generator=_generator(1))
    (gradient,) = torch.autograd.grad((weights * images).sum(), batch)
    torch.testing.assert_close(gradient, weights[:2] + weights[2:].flip(3))


def test_mirror_images_are_augmented_with_draws_of_their_own() -> None:
    inner = _student(DSA(ops=("color",)), True, 4).loop(IMAGES, _generator())
    images, _ = inner.prepare(0, IMAGES[inner.batches[0]], LABELS[inner.batches[0]])
    assert len(images) == 4
    assert not torch.allclose(images[2:], images[:2].flip(3))


def test_soft_labels_are_repeated_with_their_images() -> None:
    inner = _student(NoAugmentation(), True, 4).loop(IMAGES, _generator())
    soft = torch.rand(2, 10, generator=_generator(2))
    assert torch.equal(inner.prepare(0, IMAGES[:2], soft)[1], torch.cat([soft, soft]))


def test_without_mirroring_batches_are_whole() -> None:
    inner = _student(NoAugmentation(), False, 4).loop(IMAGES, _generator())
    assert [len(rows) for rows in inner.batches] == [4, 4, 2]


def test_a_step_asked_again_is_augmented_alike_and_another_one_is_not() -> None:
    inner = _student(DSA(), False, None).loop(IMAGES, _generator())
    first, again, other = (inner.prepare(step, IMAGES, LABELS)[0] for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_inner_loop_takes_over_momentum_and_scale() -> None:
    inner = _student(NoAugmentation(), False, None).loop(IMAGES, _generator(), momentum=0.9, scale=1.29)
    assert (inner.momentum, inner.scale) == (0.9, 1.29)


def test_a_batch_without_an_image_is_refused() -> None:
    with pytest.raises(BadInput, match="batch must be at least 1 image, got 0; none takes all"):
        _student(NoAugmentation(), False, 0)


@pytest.mark.parametrize("mirror", [False, True])
def test_equal_generators_give_equal_loops(mirror: bool) -> None:
    student = _student(DSA(), mirror, 4)
    loops = [student.loop(IMAGES, _generator(seed)) for seed in (3, 3, 4)]
    rows = [torch.cat(list(inner.batches)).tolist() for inner in loops]
    assert rows[0] == rows[1] != rows[2]


class _Heard(NoProgress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


Chosen = Callable[..., tuple[Engine, list[str]]]


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chosen:
    """chosen(compiles, field=value, ...) -> the engine of MTT's student on 4 classes at IPC 5, and what was said."""
    monkeypatch.setattr("condense.unroll.choice.shutil.which", lambda name: name)
    train = Split.from_arrays(torch.zeros(40, 3, 16, 16, dtype=torch.uint8), torch.arange(40) % 4, list("abcd"))

    def of(compiles: bool, *, mirror: bool = False, **fields: Any) -> tuple[Engine, list[str]]:
        heard, config = _Heard(), mtt.Config(**{"network": "convnet:width=32", **fields})
        with Run(tmp_path / "run", seed=0, progress=heard, compile=compiles) as run:
            student = student_of(config, train, Budget(ipc=5), NoAugmentation(), run, mirror=mirror)
        return student.engine, heard.lines

    return of


def test_a_long_run_is_compiled_if_it_may_be(chosen: Chosen) -> None:
    assert chosen(True, steps=50_000) == (Engine(compile=True), [])
    assert chosen(False, steps=50_000) == (Engine(graph_bytes=2**30), [])


def test_memory_for_graphs_is_the_configurations(chosen: Chosen) -> None:
    assert chosen(False, graph_gibibytes=4.0)[0] == Engine(graph_bytes=4 * 2**30)
    assert chosen(False, graph_gibibytes=4.0, engine="unroll")[0] == Engine("unroll")


def test_a_short_run_is_not_compiled_and_says_so(chosen: Chosen) -> None:
    engine, lines = chosen(True, steps=40)
    assert engine == Engine(graph_bytes=2**30)
    assert lines == ["students are not compiled: it takes about 85 s and would save about 13 s"]


@pytest.mark.parametrize(
    ("fields", "engine", "reason"),
    [
        ({"engine": "higher"}, Engine("higher"), "the engine 'higher' keeps graphs of autograd"),
        ({"engine": "unroll"}, Engine("unroll"), "the engine 'unroll' keeps graphs of autograd"),
        ({"network": "mlp"}, Engine(graph_bytes=2**30), "written for the ConvNet, and this is MLP"),
    ],
)
def test_what_cannot_be_compiled_goes_on_uncompiled(
    chosen: Chosen, fields: dict[str, Any], engine: Engine, reason: str
) -> None:
    found, lines = chosen(True, steps=50_000, **fields)
    assert found == engine
    assert len(lines) == 1
    assert lines[0].endswith(reason)


@pytest.mark.parametrize(
    ("fields", "images"),
    [
        ({}, 20),
        ({"batch": 7}, 7),
        ({"batch": 100}, 20),
        ({"mirror": True, "batch": 7}, 6),  # three and their mirror images
        ({"mirror": True}, 20),
    ],
)
def test_the_work_is_that_of_the_prepared_batches(
    chosen: Chosen, fields: dict[str, Any], images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def choose(network: FlatNetwork, shape: Any, passes: int, **rest: Any) -> Choice:
        asked.append(passes)
        return Choice(Engine(), None)

    monkeypatch.setattr("condense.trajectories.student.choose", choose)
    chosen(False, steps=3, student_steps=2, **fields)
    assert asked == [3 * 2 * images]
