"""One step of recovering images from a teacher: this project's step against the published loop with forward hooks.

    python benchmarks/recover.py [--sizes 32 64] [--threads 2 1] [--device cpu] [--steps 6] [--repeats 3] [--out FILE]

100 images, ResNet-18 with the stem for small images and batch norm, 100 classes: views (at 32 pixels a roll, at 64 a
crop, a mirror and a roll), forward pass, batch-norm statistics, gradient of the images, Adam, clipping. The loop reads
every batch norm's input by a hook, takes mean and variance apart and the variance of a transposed copy, uncompiled,
NCHW, with the allocator as the system sets it up; "tuned" is the same loop with the allocator of this project.

Every measurement is a process of its own, and the sides take turns, so that load from elsewhere meets all alike. Each
of our sides is held to what it has to reach: 1.4 times as fast as the loop on a CPU, twice on a GPU, and no more
memory than the loop, whose allocator is the system's, nor than the tuned one, whose allocator is ours. At 32 pixels on
one thread it also stands beside the authors' own step, which took 2.0 processor seconds on a machine whose floor for
its operations was 1.19.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from processes import fresh, machine_facts, peak_bytes, print_result, run_as_script

from condense import allocator

CLASSES, BATCH, NETWORK = 100, 100, "resnet18:norm=batch"
SIDES = ("loop", "tuned", "eager", "compiled")
WEIGHT, FIRST = 0.01, 10.0  # of the statistics, and of the first layer in them
REFERENCE, FLOOR = 2.0, 1.19  # processor seconds of the authors' step, and of its operations alone
ENOUGH = {"cpu": 1.4, "cuda": 2.0}  # times as fast as the loop
MEAN, STD = (0.49, 0.48, 0.45), (0.2, 0.2, 0.2)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", type=int, nargs="+", default=[32, 64], help="side of the images in pixels")
    options.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    options.add_argument("--device", default="cpu")
    options.add_argument("--batch", type=int, default=BATCH)
    options.add_argument("--steps", type=int, default=6, help="measured in each process, after two to warm up")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--out", type=Path)
    options.add_argument("--measure", choices=SIDES, help=argparse.SUPPRESS)  # how the process calls itself
    given = options.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given)))
        return
    settings = {"network": NETWORK, "batch": given.batch, "device": given.device, "steps": given.steps}
    rows = [row for threads in given.threads for size in given.sizes for row in compare(given, threads, size)]
    settings |= {"repeats": given.repeats, "reference_cpu_seconds": REFERENCE, "floor_cpu_seconds": FLOOR}
    for row in rows:
        if row["side"] in SIDES[2:]:
            told = ", ".join(f"{name} {row[name]}" for name in row if isinstance(row[name], bool))
            place = f"{row['threads']} threads, {row['pixels']} pixels, {row['side']}"
            print(f"{place}: {row['times_loop_cpu']} times the loop; {told}", file=sys.stderr)
    print_result({"machine": machine_facts(), "settings": settings, "rows": rows}, given.out)


def compare(given: argparse.Namespace, threads: int, size: int) -> list[dict[str, Any]]:
    """One row for each side."""
    words = ["--threads", str(threads), "--sizes", str(size), "--steps", str(given.steps)]
    words += ["--device", given.device, "--batch", str(given.batch)]
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(given.repeats):
        for side in SIDES:
            runs[side].append(json.loads(fresh([__file__, "--measure", side, *words], threads)))
            print(f"{threads} threads, {size} pixels, {side}", file=sys.stderr)
    loop = {what: _median(runs["loop"], what) for what in ("seconds", "cpu")}
    rows = [{"threads": threads, "pixels": size, "side": side, **_summary(found, loop)} for side, found in runs.items()]
    for row in rows[2:]:
        row |= verdict(row, rows[0], rows[1], given.device.partition(":")[0])
        if (threads, size, given.batch, given.device) == (1, 32, BATCH, "cpu"):
            row |= {"times_reference": round(REFERENCE / row["cpu_seconds"], 2)}
            row |= {"longer_than_floor": round(row["cpu_seconds"] / FLOOR, 2)}
    return rows


def verdict(row: dict[str, Any], loop: dict[str, Any], tuned: dict[str, Any], device: str) -> dict[str, bool]:
    """Whether one of our sides is fast enough, and needs no more memory than the loop and than the tuned one.

    On a CPU processor seconds decide, which load from elsewhere hardly moves.
    """
    times = loop["cpu_seconds"] / row["cpu_seconds"] if device == "cpu" else loop["seconds"][1] / row["seconds"][1]
    return {
        f"at_least_{ENOUGH[device]:g}_times": times >= ENOUGH[device],
        "memory_no_higher": row["peak_mebibytes"] <= loop["peak_mebibytes"],
        "memory_no_higher_than_tuned": row["peak_mebibytes"] <= tuned["peak_mebibytes"],
    }


def _median(runs: list[dict[str, Any]], what: str) -> float:
    return statistics.median(value for run in runs for value in run[what])


def _summary(runs: list[dict[str, Any]], loop: dict[str, float]) -> dict[str, Any]:
    seconds = sorted(value for run in runs for value in run["seconds"])
    median, processor = statistics.median(seconds), _median(runs, "cpu")
    return {
        "seconds": [round(value, 4) for value in (seconds[0], median, seconds[-1])],
        "cpu_seconds": round(processor, 4),
        "times_loop": round(loop["seconds"] / median, 2),
        "times_loop_cpu": round(loop["cpu"] / processor, 2),  # hardly moves with load from elsewhere
        "gflop": round(runs[0]["gflop"], 1),
        "gflops": round(runs[0]["gflop"] / median, 1),
        "peak_mebibytes": round(statistics.median(run["peak_bytes"] for run in runs) / 2**20),
    }


def measure(side: str, given: argparse.Namespace) -> dict[str, Any]:
    """Wall and processor seconds of each step after the first two; peak memory of the process, or of the GPU."""
    if side != "loop":
        allocator.keep_memory()
    import torch

    from condense import _torchvision, networks

    _torchvision.load("transforms")  # one side alone needs it, and what it takes is no matter of the method
    torch.set_num_threads(given.threads[0])
    shape = (3, given.sizes[0], given.sizes[0])
    teacher = _teacher(shape)
    wall: list[float] = []
    processor: list[float] = []

    def mark() -> None:
        if given.device != "cpu":
            torch.cuda.synchronize()
        wall.append(time.perf_counter())
        processor.append(time.process_time())

    images = torch.randn(given.batch, *shape, generator=torch.Generator().manual_seed(0)).to(given.device)
    labels = (torch.arange(given.batch) % CLASSES).to(given.device)
    if side in ("loop", "tuned"):
        _loop(teacher.to(given.device), images, labels, given.steps + 2, mark)
    else:
        _ours(teacher, images, labels, given.steps + 2, side == "compiled", mark)
    peak = peak_bytes()
    return {
        "seconds": [after - before for before, after in itertools.pairwise(wall[2:])],
        "cpu": [after - before for before, after in itertools.pairwise(processor[2:])],
        "gflop": 2 * networks.work(NETWORK, shape, CLASSES).operations * given.batch / 1e9,
        "peak_bytes": peak if given.device == "cpu" else torch.cuda.max_memory_allocated(),
    }


def _teacher(shape: tuple[int, int, int]) -> Any:
    """Random weights; running statistics of two batches of noise."""
    import torch

    from condense import networks

    teacher = networks.build(NETWORK, shape, CLASSES, torch.Generator().manual_seed(0)).train()
    with torch.no_grad():
        for seed in range(2):
            teacher(torch.randn(16, *shape, generator=torch.Generator().manual_seed(seed)))
    return teacher.eval().requires_grad_(False)


def _ours(teacher: Any, images: Any, labels: Any, steps: int, compiled: bool, mark: Callable[[], None]) -> None:
    from condense.preprocessing import normalise
    from condense.recovery import Descent, Objective, Observed, Views, descend, placed
    from condense.run import Run

    class Marked(Run):
        def loop(self, *arguments: Any, **options: Any) -> Iterator[int]:
            for step in super().loop(*arguments, **options):
                mark()
                yield step
            mark()

    small = images.shape[2] <= 32
    views = Views(steps, lowest=1.0 if small else 0.08, flip=not small, roll_to=4)
    with tempfile.TemporaryDirectory() as folder, Marked(folder, seed=0, compile=compiled, device=images.device) as run:
        observed = placed(Observed(teacher), run)
        objective = Objective([observed], [1.0], WEIGHT, FIRST, run.compiled)
        descend(images, labels, objective, views, Descent(steps, 0.25), normalise(MEAN, STD), run)


class _Hook:
    """The published hook, with one gap a layer."""

    def __init__(self, layer: Any):
        layer.register_forward_hook(self)
        self.gap: Any = None

    def __call__(self, layer: Any, inputs: Any, output: Any) -> None:
        channels = inputs[0].shape[1]
        mean = inputs[0].mean([0, 2, 3])
        variance = inputs[0].permute(1, 0, 2, 3).contiguous().view([channels, -1]).var(1, unbiased=False)
        self.gap = (layer.running_var - variance).norm(2) + (layer.running_mean - mean).norm(2)


def _loop(teacher: Any, images: Any, labels: Any, steps: int, mark: Callable[[], None]) -> None:
    import math

    import torch
    import torch.nn.functional as F

    from condense import _torchvision

    transforms = _torchvision.load("transforms")
    size = images.shape[2]
    crop = transforms.Compose([transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()])
    hooks = [_Hook(layer) for layer in teacher.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    images = images.clone().requires_grad_()
    optimizer = torch.optim.Adam([images], lr=0.25, betas=(0.5, 0.9), eps=1e-8)
    for step in range(steps):
        mark()
        for group in optimizer.param_groups:
            group["lr"] = 0.25 * (1 + math.cos(math.pi * step / steps)) / 2
        views = images if size <= 32 else crop(images)
        down, right = torch.randint(0, 5, (2,)).tolist()
        views = torch.roll(views, shifts=(down, right), dims=(2, 3))
        optimizer.zero_grad()
        entropy = F.cross_entropy(teacher(views), labels)
        gap = sum(hook.gap * (FIRST if index == 0 else 1.0) for index, hook in enumerate(hooks))
        (entropy + WEIGHT * gap).backward()
        optimizer.step()
        with torch.no_grad():
            for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
                images[:, channel].clamp_(-mean / std, (1 - mean) / std)
    mark()


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    run_as_script(main)
