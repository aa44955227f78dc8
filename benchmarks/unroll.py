"""One outer iteration of trajectory matching: this project's engines against the step of the published code.

    python benchmarks/unroll.py [--widths 32 128] [--ipcs 1 10] [--steps 10 30] [--sides reference adjoint ...]
                                [--threads 1] [--repeats 1] [--device cpu] [--out FILE.json]
    python benchmarks/unroll.py --widths 128 --ipcs 10 --steps 15 60 --sides adjoint    # does its memory grow with N?

Ten classes of 3 x 32 x 32 random pixels, ConvNet-D3, full batches, DSA drawn for each inner step. The expert's segment
is a few steps of descent on other pixels. Every side does the whole iteration: N inner steps, the gradients of images
and step size, and the update of both (of length 0, so that every iteration computes the same).

The `reference` side is written after the published step of MTT: NCHW, uncompiled, every graph alive, a network built
for each iteration, the allocator as the system sets it up. The other sides keep freed memory (condense.allocator).
All share this project's DSA, which costs no side more than a hundredth of its time.

Every measurement is a process of its own with empty compiler caches. An iteration of two inner steps warms up and
builds the machine code; `warm_up_seconds` is what it took beyond two later steps by the clock on the wall, since the
compiler works in processes of its own. `memory` is the peak of the process, on a GPU of its allocator, above what was
held before the first iteration, and `path` what the N parameter vectors take of it; `growth` is the memory of more
steps, less what their longer path takes, over that of the fewest. `cosine` compares the gradient of the images with
that of `unroll`, or of `reference` without it. A cell whose graphs are predicted to take more than 16 GiB is listed as
not fitting. Code is compiled for a CPU alone.

The rows `published` are no measurement of this script: seconds and peak memory of the whole process of the authors'
published script, on one thread of a Sapphire Rapids server, quiet; 47.3 s is a single iteration.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from processes import fresh, machine_facts, peak_bytes, print_result, run_as_script

from condense import allocator

CLASSES, SHAPE = 10, (3, 32, 32)
LARGEST = 16 * 2**30  # bytes of graphs
# Bytes of a step's graph with its second derivatives, for each byte that a plain forward pass keeps (measured).
GRAPH_PER_ACTIVATION = 2.1

# Fields of condense.unroll.Engine; the reference has none.
SIDES: dict[str, dict[str, Any]] = {
    "reference": {},
    "unroll": {"name": "unroll"},
    "higher": {"name": "higher"},
    "adjoint": {},
    "adjoint 4 GiB": {"graph_bytes": 4 * 2**30},
    "adjoint compiled": {"compile": True},
    "adjoint compiled bfloat16": {"compile": True, "bfloat16": True},
    "tesla": {"name": "tesla"},
    "tesla compiled": {"name": "tesla", "compile": True},
}
WITH_ALL_GRAPHS = ("reference", "unroll", "higher")
# (width, IPC, inner steps): seconds and GiB of the authors' script on one thread.
PUBLISHED = {
    (32, 1, 10): (0.21, 0.56),
    (32, 1, 30): (0.65, 0.87),
    (128, 1, 10): (1.14, 1.0),
    (128, 1, 30): (3.35, 2.2),
    (32, 10, 10): (1.9, 1.9),
    (32, 10, 30): (5.7, 4.1),
    (128, 10, 10): (14.8, 4.0),
    (128, 10, 30): (47.3, 9.3),
}


class Cell(NamedTuple):
    """One setting of the comparison."""

    width: int
    ipc: int
    steps: int
    threads: int
    device: str = "cpu"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--widths", type=int, nargs="+", default=[32, 128])
    options.add_argument("--ipcs", type=int, nargs="+", default=[1, 10])
    options.add_argument("--steps", type=int, nargs="+", default=[10, 30], help="inner steps N")
    options.add_argument("--sides", nargs="+", choices=SIDES, help="default: all, on a GPU all that are not compiled")
    options.add_argument("--threads", type=int, nargs="+", default=[1])
    options.add_argument("--repeats", type=int, default=1, help="outer iterations measured in each process")
    options.add_argument("--device", default="cpu")
    options.add_argument("--out", type=Path)
    options.add_argument("--measure", choices=SIDES, help=argparse.SUPPRESS)  # how the process calls itself
    options.add_argument("--gradient", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.measure:
        cell = Cell(given.widths[0], given.ipcs[0], given.steps[0], given.threads[0], given.device)
        print(json.dumps(measure(given.measure, cell, given.repeats, given.gradient)))
        return
    on_cpu = given.device == "cpu"
    sides = given.sides or [side for side, fields in SIDES.items() if on_cpu or not fields.get("compile")]
    rows = []
    for numbers in itertools.product(given.widths, given.ipcs, given.steps, given.threads):
        cell = Cell(*numbers, given.device)
        rows += compare(cell, sides, given.repeats)
        if on_cpu and cell.threads == 1 and cell[:3] in PUBLISHED:
            seconds, gibibytes = PUBLISHED[cell[:3]]
            process = round(gibibytes * 2**10)
            rows.append({**cell._asdict(), "side": "published", "seconds": seconds, "process_mebibytes": process})
    _add_growth(rows)
    settings = {"repeats": given.repeats, "device": _device_name(given.device)}
    print_result({"machine": machine_facts(), "settings": settings, "rows": rows}, given.out)


def _add_growth(rows: list[dict[str, Any]]) -> None:
    """What more inner steps do to the memory of a side, apart from the parameters that it stores."""
    measured = [row for row in rows if row.get("memory_mebibytes")]

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["side"], row["width"], row["ipc"], row["threads"]

    for _, found in itertools.groupby(sorted(measured, key=key), key):
        few, *more = sorted(found, key=lambda row: row["steps"])
        for row in more:
            longer = row["path_mebibytes"] - few["path_mebibytes"]
            row["growth"] = round((row["memory_mebibytes"] - longer) / few["memory_mebibytes"], 3)


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def compare(cell: Cell, sides: list[str], repeats: int) -> list[dict[str, Any]]:
    """One row for each side."""
    import numpy

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        gradients = {}
        for side in sides:
            print(f"{cell}, {side}", file=sys.stderr)
            row: dict[str, Any] = {**cell._asdict(), "side": side}
            rows.append(row)
            if side in WITH_ALL_GRAPHS and _graph_bytes(cell) > LARGEST:
                row["fits"] = False
                continue
            path = Path(folder, f"{side}.npy")
            words = [__file__, "--measure", side, "--gradient", str(path), "--repeats", str(repeats)]
            words += ["--widths", str(cell.width), "--ipcs", str(cell.ipc), "--steps", str(cell.steps)]
            words += ["--threads", str(cell.threads), "--device", cell.device]
            row |= json.loads(fresh(words, cell.threads))
            gradients[side] = numpy.load(path).ravel()
    for base in ("unroll", "reference"):
        if base in gradients:
            for row in rows:
                if row["side"] in gradients:
                    ours, theirs = gradients[row["side"]], gradients[base]
                    row["cosine"] = float(ours @ theirs / numpy.linalg.norm(ours) / numpy.linalg.norm(theirs))
            break
    return rows


def _graph_bytes(cell: Cell) -> float:
    from condense import networks

    network = networks.build(f"convnet-d3:width={cell.width}", SHAPE, CLASSES)
    images = CLASSES * cell.ipc * cell.steps
    return GRAPH_PER_ACTIVATION * networks.activation_bytes(network, SHAPE) * images


def measure(side: str, cell: Cell, repeats: int, gradient: Path) -> dict[str, Any]:
    """Median wall and processor seconds of an outer iteration, what warming up took, and memory in MiB."""
    if side != "reference":
        allocator.keep_memory()
    import numpy
    import torch

    torch.set_num_threads(cell.threads)
    outer = Iteration(cell)
    iterate = outer.published if side == "reference" else outer.with_engine(SIDES[side])
    before = _held_bytes(cell.device)
    first = _timed(lambda: iterate(2), cell.device)
    timed = [_timed(lambda: iterate(cell.steps), cell.device) for _ in range(repeats)]
    numpy.save(gradient, outer.images.grad.cpu().numpy())
    wall, processor = sorted(timed)[len(timed) // 2]
    process = peak_bytes()
    peak = torch.cuda.max_memory_allocated(cell.device) if cell.device != "cpu" else process
    return {
        "seconds": round(wall, 3),
        "cpu_seconds": round(processor, 3),
        "warm_up_seconds": round(max(0.0, first[0] - 2 * wall / cell.steps), 2),
        "memory_mebibytes": round((peak - before) / 2**20),
        "path_mebibytes": round(4 * outer.network.size * cell.steps / 2**20),
        "process_mebibytes": round(process / 2**20),
    }


def _held_bytes(device: str) -> int:
    import torch

    if device != "cpu":
        return torch.cuda.memory_allocated(device)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _timed(work: Callable[[], None], device: str) -> tuple[float, float]:
    """Wall and processor seconds until the work is done, on the device as well."""
    import torch

    wall, processor = time.perf_counter(), time.process_time()
    work()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - processor


class Iteration:
    """A synthetic set, an expert's segment and the draws of the augmentation, equal for every side."""

    def __init__(self, cell: Cell):
        import torch

        from condense import networks
        from condense.augment import DSA
        from condense.flat import FlatNetwork
        from condense.unroll.steps import DoubleBackward

        rng = torch.Generator().manual_seed(0)
        self.name = f"convnet-d3:width={cell.width}"
        module = networks.build(self.name, SHAPE, CLASSES, rng).to(cell.device)
        self.network = FlatNetwork(module)
        self.start = self.network.flatten(module)
        count = CLASSES * cell.ipc
        self.labels = (torch.arange(count) % CLASSES).to(cell.device)
        self.images = torch.randn(count, *SHAPE, generator=rng).to(cell.device).requires_grad_()
        self.step_size = torch.tensor(0.02, device=cell.device, requires_grad=True)
        self.augment = DSA(align_corners=True)
        self.draws = [self.augment.draw(count, SHAPE, rng) for _ in range(cell.steps)]
        self.target, step = self.start, DoubleBackward(self.network, half=False)
        for _ in range(5):
            pixels, classes = torch.randn(20, *SHAPE, generator=rng), torch.arange(20) % CLASSES
            slope = step.gradient(0, self.target, pixels.to(cell.device), classes.to(cell.device))
            self.target = self.target - 0.05 * slope

    def with_engine(self, fields: dict[str, Any]) -> Callable[[int], None]:
        """iterate(N) by one of this project's engines."""
        import torch

        from condense.unroll import Engine, InnerLoop, Segment, outer_loss

        optimizer = torch.optim.SGD([self.images, self.step_size], lr=0.0, momentum=0.5)
        rows = torch.arange(len(self.images))

        def prepare(step: int, images: Any, targets: Any) -> tuple[Any, Any]:
            return self.augment.apply(images, self.draws[step]), targets

        def iterate(steps: int) -> None:
            inner = InnerLoop(self.network, [rows] * steps, prepare)
            segment = Segment.ending_at(self.start, self.target, steps)
            optimizer.zero_grad()
            outer_loss(inner, segment, self.images, self.labels, self.step_size, Engine(**fields)).loss.backward()
            optimizer.step()

        return iterate

    def published(self, steps: int) -> None:
        """The published outer iteration: a fresh network, a list of flat parameters, one backward through them all."""
        import torch
        from torch.func import functional_call
        from torch.nn import functional as F

        from condense import networks

        module = networks.build(self.name, SHAPE, CLASSES, torch.Generator().manual_seed(1)).to(self.images.device)
        shapes = {name: value.shape for name, value in module.named_parameters()}
        optimizer = torch.optim.SGD([self.images, self.step_size], lr=0.0, momentum=0.5)
        path = [self.start.clone().requires_grad_()]
        for draw in self.draws[:steps]:
            parts = path[-1].split([shape.numel() for shape in shapes.values()])
            views = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
            logits = functional_call(module, views, (self.augment.apply(self.images, draw),))
            loss = F.cross_entropy(logits, self.labels)
            (gradient,) = torch.autograd.grad(loss, path[-1], create_graph=True)
            path.append(path[-1] - self.step_size * gradient)
        gap = F.mse_loss(path[-1], self.target, reduction="sum")
        optimizer.zero_grad()
        (gap / F.mse_loss(self.start, self.target, reduction="sum")).backward()
        optimizer.step()


if __name__ == "__main__":
    run_as_script(main)
