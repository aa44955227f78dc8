"""What an iteration of trajectory matching in machine code is made of: matrix products, and the passes between them.

    python benchmarks/unroll_parts.py [--width 128] [--ipc 10] [--steps 4] [--threads 1] [--out FILE.json]

The iteration of `benchmarks/unroll.py`, compiled, in float32 and in bfloat16; a step costs the same whatever their
number. `products` are the matrix products that the convolutions and the classifier became, in seconds and 1e9
operations (a multiply-add is two), `passes` everything else; the share of each is PyTorch's profiler's. `peak` is the
rate of one large square product of the same type, and `floor` the seconds that would be left if all products ran at
it: the passes move bytes, and faster products do not help them. All seconds are the processor's, the fewest of a few.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from processes import fresh, machine_facts, print_result, run_as_script
from unroll import SIDES, Cell, Iteration

from condense import allocator

PRODUCTS = ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm")
LARGE = 2048  # side of the product that the peak is taken from


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--width", type=int, default=128)
    options.add_argument("--ipc", type=int, default=10)
    options.add_argument("--steps", type=int, default=4, help="inner steps of the profiled iteration")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--out", type=Path)
    options.add_argument("--measure", choices=("float32", "bfloat16"), help=argparse.SUPPRESS)
    given = options.parse_args()
    cell = Cell(given.width, given.ipc, given.steps, given.threads, "cpu")
    if given.measure:
        print(json.dumps(measure(given.measure, cell)))
        return
    words = [__file__, "--width", str(given.width), "--ipc", str(given.ipc), "--steps", str(given.steps)]
    words += ["--threads", str(given.threads)]
    rows = [json.loads(fresh([*words, "--measure", dtype], given.threads)) for dtype in ("float32", "bfloat16")]
    result = {"machine": machine_facts(), "cell": cell._asdict(), "rows": rows}
    print_result(result, given.out)


def measure(dtype: str, cell: Cell) -> dict[str, Any]:
    """Seconds of one iteration, of its products and of the rest, after one that builds the machine code."""
    allocator.keep_memory()
    torch.set_num_threads(cell.threads)
    peak = product_peak(getattr(torch, dtype))
    iterate = Iteration(cell).with_engine(SIDES["adjoint compiled" + (" bfloat16" if dtype == "bfloat16" else "")])
    iterate(cell.steps)
    seconds = fewest_seconds(lambda: iterate(cell.steps), repeats=3)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], with_flops=True) as profile:
        iterate(cell.steps)
    events = profile.key_averages()
    products = [event for event in events if event.key in PRODUCTS]
    share = sum(event.self_cpu_time_total for event in products) / sum(event.self_cpu_time_total for event in events)
    operations = sum(event.flops for event in products) / 1e9
    return {
        "dtype": dtype,
        "seconds": round(seconds, 3),
        "products_seconds": round(share * seconds, 3),
        "products_operations": round(operations, 1),
        "passes_seconds": round((1 - share) * seconds, 3),
        "peak": round(peak, 1),
        "floor_seconds": round((1 - share) * seconds + operations / peak, 3),
    }


def product_peak(dtype: torch.dtype) -> float:
    """1e9 operations a second of a large square product."""
    left, right = torch.randn(2, LARGE, LARGE).to(dtype)
    return 2 * LARGE**3 / fewest_seconds(lambda: torch.mm(left, right), repeats=5) / 1e9


def fewest_seconds(work: Callable[[], object], repeats: int) -> float:
    """Of the processor, in the best of so many repetitions."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


if __name__ == "__main__":
    run_as_script(main)
