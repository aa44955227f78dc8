"""Judging one IPC-10 set of 3 x 32 x 32 images in 10 classes: this project's engines against a plain loop.

    python benchmarks/judge.py [--networks convnet-d3 convnet-d3:width=32] [--threads 2 1] [--out FILE.json]

The plain loop is what the published evaluation codes do, without a DataLoader: images on the device, one network at a
time, uncompiled, NCHW, PyTorch's own optimiser, an allocator as the system sets it up. Both sides draw the same batches
and the same augmentation (DSA), and train with the recipe of the matching papers.

Every measurement is a process of its own, and the sides take turns, so that load from elsewhere meets all alike. Random
pixels; the arithmetic does not depend on what they show. Compilation is timed with empty caches. "Projected" is five
networks of 1001 epochs, compilation once, and a test pass over 10 000 images each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from processes import fresh, machine_facts, peak_bytes, print_result, run_as_script

from condense import allocator

IPC, CLASSES, SHAPE = 10, 10, (3, 32, 32)
EPOCHS, SEEDS, TEST_IMAGES = 1001, 5, 10_000  # of the projection
MEASURED_TEST_IMAGES = 2048
SIDES = ("plain", "eager", "compiled", "bfloat16", "batched")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--networks", nargs="+", default=["convnet-d3", "convnet-d3:width=32"])
    options.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    options.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    options.add_argument("--epochs", type=int, default=12, help="measured in each process, after two to warm up")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--out", type=Path)
    options.add_argument("--measure", choices=SIDES, help=argparse.SUPPRESS)  # how the process calls itself
    given = options.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.networks[0], given.threads[0], given.epochs)))
        return
    print_result({"machine": machine_facts(), "settings": _settings(given), "rows": compare(given)}, given.out)


def compare(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each network, number of threads and side."""
    rows = []
    for threads in given.threads:
        peaks = {"float32": 0.0, "bfloat16": 0.0}
        found: dict[str, dict[str, Any]] = {}
        for network in given.networks:
            runs: dict[str, list[dict[str, Any]]] = {side: [] for side in given.sides}
            for repeat in range(given.repeats):
                rates = json.loads(fresh(["benchmarks/peak.py", "--threads", str(threads)], threads))["rates"]
                # Load from elsewhere can only lower a peak, so the highest is the machine's.
                peaks = {kind: max(peak, rates[kind]["step"]) for kind, peak in peaks.items()}
                for side in given.sides:
                    runs[side].append(_measured(side, network, threads, given.epochs))
                    print(f"{threads} threads, {network}, {side}, repeat {repeat + 1}", file=sys.stderr)
            found[network] = {side: _summary(measured) for side, measured in runs.items()}
        for network, summaries in found.items():
            for side, summary in summaries.items():
                peak = peaks["bfloat16" if side == "bfloat16" else "float32"]
                row = {"threads": threads, "network": network, "side": side, **summary, "peak_gflops": round(peak, 1)}
                row["fraction_of_peak"] = round(summary["gflop"] / summary["seconds"][1] / peak, 3)
                if "plain" in summaries:
                    row |= _against(summaries["plain"], summary)
                rows.append(row)
    return rows


def _against(plain: dict[str, Any], summary: dict[str, Any]) -> dict[str, float]:
    """How many times faster than the plain loop: by median epochs, by fastest epochs, and over the projection."""
    ratios = [plain["seconds"][place] / summary["seconds"][place] for place in (1, 0)]
    ratios.append(plain["projected_seconds"] / summary["projected_seconds"])
    return dict(zip(("times_plain", "times_plain_fastest", "times_plain_projected"), map(_two, ratios), strict=True))


def _two(value: float) -> float:
    return round(value, 2)


def measure(side: str, name: str, threads: int, epochs: int) -> dict[str, Any]:
    """Seconds of each epoch of one network, of compilation and of a test pass; peak memory of the process."""
    if side != "plain":
        allocator.keep_memory()
    import torch

    torch.set_num_threads(threads)
    marks: list[float] = []
    processor: list[float] = []

    def mark(*_: Any) -> None:
        marks.append(time.perf_counter())
        processor.append(time.process_time())

    network, test = _plain(name, epochs, mark) if side == "plain" else _ours(side, name, epochs, mark)
    seeds = SEEDS if side == "batched" else 1
    steps = [(after - before) / seeds for before, after in itertools.pairwise(marks)]
    cpu = [(after - before) / seeds for before, after in itertools.pairwise(processor)]
    tests = []
    for _ in range(2):
        begin = time.perf_counter()
        test(network)
        tests.append(time.perf_counter() - begin)
    peak = peak_bytes()
    return {
        "gflop": _step_operations(network),
        "epochs": steps[2:],
        "cpu": cpu[2:],
        "compile": seeds * (steps[0] - statistics.median(steps[2:])) + tests[0] - tests[1],
        "test": tests[1] / MEASURED_TEST_IMAGES * TEST_IMAGES,
        "peak_bytes": peak,
    }


def _ours(side: str, name: str, epochs: int, mark: Any) -> tuple[Any, Any]:
    from condense import networks
    from condense.training import Engine, Recipe, accuracy, train_seeds

    fast = side in ("compiled", "bfloat16")
    precision = "bfloat16" if side == "bfloat16" else "float32"
    engine = Engine(
        "batched" if side == "batched" else "sequential", compile=fast, channels_last=fast, precision=precision
    )
    recipe = Recipe(epochs=epochs + 2, augment={"kind": "dsa"}, precision=precision)
    rngs = [_stream(seed) for seed in range(SEEDS if side == "batched" else 1)]

    def build(generator: Any) -> Any:
        return networks.build(name, SHAPE, CLASSES, generator)

    mark()
    trained = train_seeds(build, _source(IPC * CLASSES), recipe, rngs, engine=engine, on_step=mark)
    test = _source(MEASURED_TEST_IMAGES)
    sequential = Engine(compile=fast, channels_last=fast, precision=precision)
    return trained[0], lambda network: accuracy(network, test, engine=sequential)


def _plain(name: str, epochs: int, mark: Any) -> tuple[Any, Any]:
    import torch
    from torch.nn import functional

    from condense import networks
    from condense.augment import DSA

    source, rng, augment = _source(IPC * CLASSES), _stream(0), DSA()
    network = networks.build(name, SHAPE, CLASSES, rng("init"))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    mark()
    for epoch in range(epochs + 2):
        order = torch.randperm(len(source), generator=rng("order", epoch))
        images = augment(source.images[order], rng("augment", epoch, 0))
        loss = functional.cross_entropy(network(images), source.labels.hard()[order])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        mark()
    tested = _source(MEASURED_TEST_IMAGES)

    @torch.no_grad()
    def test(network: Any) -> float:
        pairs = zip(tested.images.split(256), tested.labels.hard().split(256), strict=True)
        return sum(int((network(images).argmax(1) == labels).sum()) for images, labels in pairs) / len(tested)

    return network, test


def _source(count: int) -> Any:
    import torch

    from condense.distilled.labels import HardLabels
    from condense.training import Resident

    images = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0))
    return Resident(images, HardLabels(torch.arange(count) % CLASSES, CLASSES), CLASSES)


def _stream(seed: int) -> Any:
    import torch

    from condense.identity import digest

    def rng(name: str, *ids: int) -> torch.Generator:
        return torch.Generator().manual_seed(int(digest([seed, name, *ids])[:15], 16))

    return rng


def _measured(side: str, name: str, threads: int, epochs: int) -> dict[str, Any]:
    words = ["--measure", side, "--networks", name, "--threads", str(threads), "--epochs", str(epochs)]
    found: dict[str, Any] = json.loads(fresh([__file__, *words], threads))
    return found


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Minimum, median and maximum over the epochs of all processes; medians over the processes of the rest."""
    epochs = sorted(value for run in runs for value in run["epochs"])
    seconds = [round(value, 5) for value in (epochs[0], statistics.median(epochs), epochs[-1])]
    compiling, test = (statistics.median(run[name] for run in runs) for name in ("compile", "test"))
    return {
        "gflop": round(runs[0]["gflop"], 2),
        "seconds": seconds,
        "cpu_seconds": round(statistics.median(value for run in runs for value in run["cpu"]), 5),
        "images_per_second": round(IPC * CLASSES / seconds[1], 1),
        "compile_seconds": round(compiling, 1),
        "test_seconds": round(test, 2),
        "peak_mebibytes": round(statistics.median(run["peak_bytes"] for run in runs) / 2**20),
        "projected_seconds": round(compiling + SEEDS * (EPOCHS * seconds[1] + test), 1),
        "epochs_measured": len(epochs),
    }


def _step_operations(network: Any) -> float:
    """Of a forward and a backward pass over the set, in 1e9, a multiply-add counting as two; norms are not counted."""
    from torch.utils.flop_counter import FlopCounterMode

    network.train()
    with FlopCounterMode(display=False) as counter:
        network(_source(IPC * CLASSES).images).sum().backward()
    return float(counter.get_total_flops()) / 1e9


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    return {"epochs": given.epochs, "repeats": given.repeats, "batch": IPC * CLASSES, "augment": "dsa"}


if __name__ == "__main__":
    run_as_script(main)
