"""Kernel ridge regression and KRR-ST's outer step: where the time goes, and what bounds it.

    python benchmarks/krr.py [--parts algebra memory step] [--threads 2 1] [--repeats 3] [--out FILE.json]

algebra  Weights, predictions and both gradients from given features: 1000 samples, 8192 features, 1024 queries and 512
         columns of targets. Sides: the four large products of the formula alone (K_ss, K_ts and their gradients), which
         is the floor; this project's ridge_weights; the formula written out for autograd with an LU solve in float32.
memory   An outer gradient of 1000 synthetic images, plain and in low-memory mode: seconds, and the peak above what the
         process held before.
step     A whole outer step of KRR-ST: 100 images of CIFAR-10's shape, 1024 real ones, ConvNet 128-256-512 with batch
         norm and a ResNet-18 teacher. Sides: a plain loop that does what the authors' code does in a step (whole
         batches, NCHW, float32, LU, the system's allocator), with this project's networks; the method with a fresh
         teacher's pass in every step, in float32 and in bfloat16; the method with cached teacher features, and with
         bfloat16 online networks too. The method's parts are timed inside its own loop. Filling a cached view is a
         pass of the teacher over all images, which stands beside "cached" with the steps that repay it. Features in
         bfloat16 are compared with those in float32 for --teacher on real images, or for random weights on noise.

What each part is held to is printed with what was found. That cached views leave the accuracy as it is, is another
experiment: `transfer_factor.py fresh-views`.

Every measurement is a process of its own, and the sides take turns, so that load from elsewhere meets all alike.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from krr_step import NETWORK, RIDGE, SETTINGS, SHAPE, outer_step, written_out_loss
from processes import fresh, machine_facts, print_result, run_as_script
from watch import Watch

from condense import allocator

SIDES = {
    "algebra": ("floor", "ours", "autograd"),
    "memory": ("plain", "low-memory"),
    "step": ("reference", *SETTINGS),
}
FIRST = {part: sides[0] for part, sides in SIDES.items()}  # what the others are compared with
SIZES = {"samples": 1000, "features": 8192, "queries": 1024, "columns": 512, "images": 100, "width": 128}
TEACHER_WIDTH = 64
# The authors' code with changes for a CPU only, one thread of a Sapphire Rapids server, the same sizes: a figure from
# another machine, beside which this one's own plain loop stands.
AUTHORS_CODE = {"cpu_seconds": 16.2, "of_which_teacher": 11.4}
# What each part is held to: processor seconds and peaks are relative to the first side of the part.
MOST_OVER_FLOOR = 1.2
LOW_MEMORY_PEAK, LOW_MEMORY_TIME = 0.5, 1.4
LEAST_SPEED_UP = 3.0  # with cached teacher features, or with the teacher in bfloat16
LEAST_COSINE = 0.9998  # between features of the teacher in bfloat16 and in float32


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
    options.add_argument("--teacher", metavar="NETWORK@FILE", help="trained weights, whose features are compared")
    options.add_argument("--data", default="cifar10", help="real images for --teacher")
    options.add_argument("--out", type=Path)
    options.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)  # how the process calls itself
    given = options.parse_args()
    if given.measure:
        print(json.dumps(measure(*given.measure, given)))
        return
    settings = {name: getattr(given, name) for name in (*SIZES, "teacher_width", "steps", "repeats", "data")}
    rows = compare(given)
    found = {"machine": machine_facts(), "settings": settings, "authors_code": AUTHORS_CODE, "rows": rows}
    print_result({**found, "verdicts": verdicts(rows)}, given.out)


def compare(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each number of threads, part and side."""
    rows = []
    sizes = [
        f"--{name.replace('_', '-')}={getattr(given, name)}" for name in (*SIZES, "teacher_width", "steps", "data")
    ]
    sizes += [f"--teacher={given.teacher}"] if given.teacher else []
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


def verdicts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was asked of each part, what was found, and whether it holds; for each number of threads."""
    found = []
    for threads in dict.fromkeys(row["threads"] for row in rows):
        sides = {(row["part"], row["side"]): row for row in rows if row["threads"] == threads}
        for claim, side, value, limit, at_most in _asked(sides):
            holds = value <= limit if at_most else value >= limit
            line = {"threads": threads, "claim": claim, "side": side, "found": round(value, 4), "limit": limit}
            found.append(line | {"holds": holds})
    return found


def _asked(sides: dict[tuple[str, str], dict[str, Any]]) -> Iterator[tuple[str, str, float, float, bool]]:
    """(claim, side, value, limit, whether the limit is an upper one) for the parts that were measured."""
    if ours := sides.get(("algebra", "ours")):
        yield "times the floor of the products", "ours", ours["times_first_side"], MOST_OVER_FLOOR, True
    if low := sides.get(("memory", "low-memory")):
        peak = low["peak_mebibytes"] / sides["memory", "plain"]["peak_mebibytes"]
        yield "peak of low memory, of the plain one", "low-memory", peak, LOW_MEMORY_PEAK, True
        yield "time of low memory, of the plain one", "low-memory", low["times_first_side"], LOW_MEMORY_TIME, True
    for side in ("cached", "fresh-bf16"):
        if row := sides.get(("step", side)):
            yield "times as fast as a plain loop", side, 1 / row["times_first_side"], LEAST_SPEED_UP, False
    if half := sides.get(("step", "fresh-bf16")):
        yield "cosine of teacher features", "fresh-bf16", half["cosine"], LEAST_COSINE, False


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
    for fact in ("gflop", "cosine", "centred_cosine", "cosine_of", "filling"):
        if fact in runs[0]:
            summary[fact] = runs[0][fact]
    return summary


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(value for run in runs for value in run[name])


def measure(part: str, side: str, given: argparse.Namespace) -> dict[str, Any]:
    """One side in this process."""
    # Memory that is kept would count to the peak; the reference runs with the allocator as the system sets it up.
    if part != "memory" and side != "reference":
        allocator.keep_memory()
    import torch

    torch.set_num_threads(given.threads[0])
    torch.manual_seed(0)
    return {"algebra": algebra, "memory": outer_gradient, "step": outer_step}[part](side, given)


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
    written_out_loss(support, targets, queries, answers).backward()


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


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    run_as_script(main)
