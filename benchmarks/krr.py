"""Kernel ridge regression and KRR-ST's outer step: where the time goes, and what bounds it.

    python benchmarks/krr.py [--parts algebra memory step] [--threads 2 1] [--repeats 3] [--out FILE.json]

algebra  Weights, predictions and both gradients from given features: 1000 samples, 8192 features, 1024 queries and 512
         columns of targets. Sides: the four large products of the formula alone (K_ss, K_ts and their gradients), which
         is the floor; this project's ridge_weights; the formula written out for autograd with an LU solve in float32.
memory   An outer gradient of 1000 synthetic images, plain and in low-memory mode: seconds, and the peak above what the
         process held before.
step     A whole outer step of KRR-ST: 100 images of CIFAR-10's shape, 1024 real ones, ConvNet 128-256-512 with batch
         norm and a ResNet-18 teacher. Sides: a plain loop as in the authors' code (whole batches, NCHW, float32, LU,
         the system's allocator); the method with a fresh teacher's pass in every step, in float32 and in bfloat16; the
         method with cached teacher features, and with bfloat16 online networks too. The method's parts are timed inside
         its own loop.

Every measurement is a process of its own, and the sides take turns, so that load from elsewhere meets all alike.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from processes import fresh, machine_facts, print_result

from condense import allocator

SIDES = {
    "algebra": ("floor", "ours", "autograd"),
    "memory": ("plain", "low-memory"),
    "step": ("reference", "fresh", "fresh-bf16", "cached", "cached-bf16"),
}
FIRST = {part: sides[0] for part, sides in SIDES.items()}  # what the others are compared with
SIZES = {"samples": 1000, "features": 8192, "queries": 1024, "columns": 512, "images": 100, "width": 128}
NETWORK, TEACHER = "convnet:growth=2,norm=batch,width={width}", "resnet18:norm=batch,width={teacher}"
SHAPE = (3, 32, 32)
TEACHER_WIDTH = 64
RIDGE = 1e-6
SETTINGS: dict[str, dict[str, Any]] = {
    "fresh": {},
    "fresh-bf16": {"teacher_precision": "bfloat16"},
    "cached": {"cached_views": 1},
    "cached-bf16": {"cached_views": 1, "precision": "bfloat16"},  # of the online networks: there is no teacher's pass
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--parts", nargs="+", choices=SIDES, default=list(SIDES))
    options.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    options.add_argument("--steps", type=int, default=2, help="measured in each process, after one to warm up")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument(
        "--teacher-width", type=int, default=TEACHER_WIDTH, help="of the ResNet-18; 64 is the usual one"
    )
    for name, size in SIZES.items():
        options.add_argument(f"--{name}", type=int, default=size)
    options.add_argument("--out", type=Path)
    options.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)  # how the process calls itself
    given = options.parse_args()
    if given.measure:
        print(json.dumps(measure(*given.measure, given)))
        return
    settings = {name: getattr(given, name) for name in (*SIZES, "teacher_width", "steps", "repeats")}
    print_result({"machine": machine_facts(), "settings": settings, "rows": compare(given)}, given.out)


def compare(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each number of threads, part and side."""
    rows = []
    sizes = [f"--{name.replace('_', '-')}={getattr(given, name)}" for name in (*SIZES, "teacher_width", "steps")]
    for threads, part in itertools.product(given.threads, given.parts):
        runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES[part]}
        for _, side in itertools.product(range(given.repeats), SIDES[part]):
            words = [__file__, "--measure", part, side, "--threads", str(threads), *sizes]
            runs[side].append(json.loads(fresh(words, threads)))
            print(f"{threads} threads, {part}, {side}", file=sys.stderr)
        first = _median(runs[FIRST[part]], "cpu")
        rows += [
            {"threads": threads, "part": part, "side": side, **_summary(found, first)} for side, found in runs.items()
        ]
    return rows


def _summary(runs: list[dict[str, Any]], first: float) -> dict[str, Any]:
    seconds = sorted(value for run in runs for value in run["seconds"])
    processor = _median(runs, "cpu")
    summary: dict[str, Any] = {
        "seconds": [round(value, 4) for value in (seconds[0], statistics.median(seconds), seconds[-1])],
        "cpu_seconds": round(processor, 4),
        "times_first_side": round(processor / first, 3),  # below 1: fewer processor seconds than the first side
        "peak_mebibytes": round(statistics.median(run["peak_bytes"] for run in runs) / 2**20),
    }
    if "parts" in runs[0]:
        names = runs[0]["parts"]
        summary["parts_cpu_seconds"] = {
            name: round(statistics.median(run["parts"][name] for run in runs), 4) for name in names
        }
    for fact in ("gflop", "cosine"):
        if fact in runs[0]:
            summary[fact] = runs[0][fact]
    return summary


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(value for run in runs for value in run[name])


class Watch:
    """Wall and processor seconds between marks, processor seconds of wrapped calls, and peak memory."""

    def __init__(self) -> None:
        self._wall: list[float] = []
        self._processor: list[float] = []
        self._parts: dict[str, list[float]] = defaultdict(list)
        self._busy = False
        self._held = _resident_bytes()

    def mark(self) -> None:
        self._wall.append(time.perf_counter())
        self._processor.append(time.process_time())

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted for a part of the step; calls inside another timed call are that one's."""

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            if self._busy or len(self._wall) < 2:
                return function(*arguments, **options)
            self._busy = True
            begin = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                self._parts[part].append(time.process_time() - begin)
                self._busy = False

        return call

    def result(self) -> dict[str, Any]:
        """Times of all steps but the first."""
        steps = len(self._wall) - 2
        found: dict[str, Any] = {
            "seconds": [after - before for before, after in itertools.pairwise(self._wall[1:])],
            "cpu": [after - before for before, after in itertools.pairwise(self._processor[1:])],
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - self._held,
        }
        if self._parts:
            found["parts"] = {name: sum(values) / steps for name, values in self._parts.items()}
        return found


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(part: str, side: str, given: argparse.Namespace) -> dict[str, Any]:
    """One side in this process."""
    # Memory that is kept would count to the peak; the reference runs with the allocator as the system sets it up.
    if part != "memory" and side != "reference":
        allocator.keep_memory()
    import torch

    torch.set_num_threads(given.threads[0])
    torch.manual_seed(0)
    return {"algebra": algebra, "memory": outer_gradient, "step": outer_step}[part](side, given)


# -------------------------------------------------------------------------------------------------------------- algebra


def algebra(side: str, given: argparse.Namespace) -> dict[str, Any]:
    """Forward and gradient from given features."""
    import torch

    support = torch.randn(given.samples, given.features).relu_().requires_grad_()
    queries = torch.randn(given.queries, given.features).relu_()
    targets = torch.randn(given.samples, given.columns, requires_grad=True)
    answers = torch.randn(given.queries, given.columns)
    work = {"floor": _four_products, "ours": _ours, "autograd": _written_out}[side]
    watch = Watch()
    watch.mark()
    for _ in range(given.steps + 1):
        work(support, targets, queries, answers)
        support.grad = targets.grad = None
        watch.mark()
    products = 2 * given.features * given.samples * (given.samples + given.queries)  # of K_ss and K_ts, once each
    return watch.result() | {"gflop": round(2 * products / 1e9, 1)}


def _four_products(support: Any, targets: Any, queries: Any, answers: Any) -> None:
    support = support.detach()
    inner, outer = support @ support.T, queries @ support.T
    (inner @ support).addmm_(outer.T, queries)


def _ours(support: Any, targets: Any, queries: Any, answers: Any) -> None:
    from condense.kernels import Ridge, ridge_weights

    weights = ridge_weights(support, targets, Ridge(RIDGE, "trace", detached=True))
    (queries @ weights - answers).square().mean().backward()


def _written_out(support: Any, targets: Any, queries: Any, answers: Any) -> None:
    _written_out_loss(support, targets, queries, answers).backward()


# --------------------------------------------------------------------------------------------------------------- memory


def outer_gradient(side: str, given: argparse.Namespace) -> dict[str, Any]:
    """Features of real and synthetic images, the regression, and the gradient of images and targets."""
    import torch

    from condense import kernels, networks

    network = networks.build(NETWORK.format(width=given.width), SHAPE, given.columns).eval()
    embed = functools.partial(kernels.embed, network)
    images = torch.randn(given.samples, *SHAPE, requires_grad=True)
    real = torch.randn(given.queries, *SHAPE)
    targets = torch.randn(given.samples, given.columns, requires_grad=True)
    answers = torch.randn(given.queries, given.columns)
    ridge = kernels.Ridge(RIDGE, "trace", detached=True)
    watch = Watch()
    watch.mark()
    for _ in range(given.steps + 1):
        queries = kernels.frozen_features(embed, real, 128)
        support = kernels.support_features(embed, images, 128 if side == "low-memory" else None)
        loss = (queries @ kernels.ridge_weights(support, targets, ridge) - answers).square().mean()
        loss.backward(inputs=[images, targets])
        images.grad = targets.grad = None
        watch.mark()
    return watch.result()


# ----------------------------------------------------------------------------------------------------------------- step


def outer_step(side: str, given: argparse.Namespace) -> dict[str, Any]:
    """The plain loop, or the method with its parts timed."""
    from condense import networks

    pixels = _train(max(2048, given.queries))
    teacher = networks.build(TEACHER.format(teacher=given.teacher_width), SHAPE, 1).eval().requires_grad_(False)
    if side == "reference":
        return _reference(pixels, teacher, given)
    found = _method(side, pixels, teacher, given)
    return found | {"cosine": _half_precision(pixels, teacher)} if side == "fresh-bf16" else found


def _train(count: int) -> Any:
    import torch

    from condense.data import Split

    pixels = torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Split.from_arrays(pixels, torch.zeros(count, dtype=torch.int64), ["one"]).unlabelled()


def _half_precision(train: Any, teacher: Any) -> float:
    """Mean cosine between features whose convolutions are bfloat16 and those in float32."""
    import torch

    from condense import kernels
    from condense.preprocessing import normalise

    images = normalise(train.mean, train.std).forward(train.take(torch.arange(64)))
    with torch.no_grad():
        exact, half = (kernels.embed(teacher, images, precision) for precision in ("float32", "bfloat16"))
    return round(float(torch.nn.functional.cosine_similarity(exact, half).mean()), 5)


def _method(side: str, train: Any, teacher: Any, given: argparse.Namespace) -> dict[str, Any]:
    """The method's own loop; its parts are timed by wrapping what it calls."""
    import torch

    from condense import files, kernels
    from condense.budget import Budget
    from condense.methods import krr_st
    from condense.pool import Pool
    from condense.run import Run

    watch = Watch()

    class Marked(Run):
        def loop(self, name: str, *arguments: Any, **options: Any) -> Iterator[int]:
            for step in super().loop(name, *arguments, **options):
                if name == "regress":
                    watch.mark()
                yield step
            if name == "regress":
                watch.mark()

    parts = {
        "real images and teacher": (krr_st.TeacherBatches, "draw"),
        "features of real images": (kernels, "frozen_features"),
        "features of synthetic images": (kernels, "support_features"),
        "regression": (kernels, "ridge_weights"),
        "gradient": (torch.Tensor, "backward"),
        "step of images and targets": (torch.optim.AdamW, "step"),
        "online update": (Pool, "advance"),
    }
    # An update in every step, as in 999 of 1000 with the published age; no long warm-up is needed for that.
    always = mock.patch.object(
        Pool, "advance", lambda pool, index, images, targets, _: pool.update(index, images, targets)
    )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as patches:
        weights = Path(folder) / "teacher.safetensors"
        files.write_tensors(weights, teacher.state_dict())
        config = krr_st.Config(
            steps=given.steps + 1,
            real_batch=given.queries,
            pool=1,
            inner_steps=2,
            network=NETWORK.format(width=given.width),
            teacher=f"{TEACHER.format(teacher=given.teacher_width)}@{weights}",
            **SETTINGS[side],
        )
        patches.enter_context(always)
        for part, (owner, name) in parts.items():
            patches.enter_context(mock.patch.object(owner, name, watch.timed(part, getattr(owner, name))))
        run = patches.enter_context(Marked(Path(folder) / "run", seed=0, cache_dir=Path(folder) / "cache"))
        krr_st.distill(train, Budget(total=given.images), config, run)
    return watch.result()


def _reference(train: Any, teacher: Any, given: argparse.Namespace) -> dict[str, Any]:
    """The outer loop as the authors' code goes through it, with this project's networks and augmentation."""
    import torch

    from condense import networks
    from condense.augment import CropFlip
    from condense.preprocessing import normalise

    space, augment = normalise(train.mean, train.std), CropFlip()
    images = space.forward(train.take(torch.arange(given.images)))
    with torch.no_grad():
        targets = teacher.embed(images).requires_grad_()
    images.requires_grad_()
    student = networks.build(NETWORK.format(width=given.width), SHAPE, targets.shape[1])
    inner = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    outer = torch.optim.AdamW([images, targets], lr=1e-4, weight_decay=0)
    watch = Watch()
    watch.mark()
    for step in range(given.steps + 1):
        student.eval()
        rows = torch.randperm(len(train))[: given.queries]
        real = augment(space.forward(train.take(rows)), torch.Generator().manual_seed(step))
        with torch.no_grad():
            answers, queries = teacher.embed(real), student.embed(real)
        support, queries = (torch.cat([part, torch.ones(len(part), 1)], 1) for part in (student.embed(images), queries))
        _descend(outer, functools.partial(_written_out_loss, support, targets, queries, answers))
        student.train()
        fixed, wanted = images.detach(), targets.detach()
        _descend(inner, lambda fixed=fixed, wanted=wanted: (student(fixed) - wanted).square().mean())
        watch.mark()
    return watch.result()


def _written_out_loss(support: Any, targets: Any, queries: Any, answers: Any) -> Any:
    import torch

    inner, outer = support @ support.T, queries @ support.T
    ridge = RIDGE * inner.detach().trace() * torch.eye(len(inner))
    return (outer @ torch.linalg.solve(inner + ridge, targets) - answers).square().mean()


def _descend(optimiser: Any, loss: Callable[[], Any]) -> None:
    optimiser.zero_grad()
    loss().backward()
    optimiser.step()


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main()
