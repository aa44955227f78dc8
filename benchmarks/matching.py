"""One step of DM and of DataDAM: this project's methods against the loops of the published codes.

    python benchmarks/matching.py [--methods dm datadam] [--threads 2 1] [--steps 6] [--repeats 3] [--out FILE.json]

CIFAR-10-shaped random pixels, ten classes, IPC 10, ConvNet-D3 of width 128, 64 real images of each class in a step. The
loop samples, augments and (DM) embeds class by class, uncompiled, NCHW, with the allocator as the system sets it up;
"tuned" is the same loop with the allocator of this project, which leaves the difference that the code makes.
Both sides do the whole step: sampling, preprocessing, siamese augmentation, forward, backward, update of the images.

Every measurement is a process of its own, and the sides take turns, so that load from elsewhere meets all alike.
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

CLASSES, PER_CLASS, IPC, REAL_BATCH = 10, 200, 10, 64
SIDES = ("loop", "tuned", "eager", "compiled")
NETWORKS = {"dm": "convnet", "datadam": "convnet:norm=batch"}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--methods", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    options.add_argument("--steps", type=int, default=6, help="measured in each process, after two to warm up")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--out", type=Path)
    options.add_argument("--measure", choices=SIDES, help=argparse.SUPPRESS)  # how the process calls itself
    given = options.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.methods[0], given.threads[0], given.steps)))
        return
    settings = {
        "ipc": IPC,
        "classes": CLASSES,
        "real_batch": REAL_BATCH,
        "steps": given.steps,
        "repeats": given.repeats,
    }
    print_result({"machine": machine_facts(), "settings": settings, "rows": compare(given)}, given.out)


def compare(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each number of threads, method and side."""
    rows = []
    for threads in given.threads:
        peak = json.loads(fresh(["benchmarks/peak.py", "--threads", str(threads)], threads))["rates"]["float32"]["step"]
        for method in given.methods:
            runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
            for _ in range(given.repeats):
                for side in SIDES:
                    words = [__file__, "--measure", side, "--methods", method, "--threads", str(threads)]
                    runs[side].append(json.loads(fresh([*words, "--steps", str(given.steps)], threads)))
                    print(f"{threads} threads, {method}, {side}", file=sys.stderr)
            loop = _median(runs["loop"], "seconds"), _median(runs["loop"], "cpu")
            for side, found in runs.items():
                rows.append({"threads": threads, "method": method, "side": side, **_summary(found, loop, peak)})
    return rows


def _median(runs: list[dict[str, Any]], what: str) -> float:
    return statistics.median(value for run in runs for value in run[what])


def _summary(runs: list[dict[str, Any]], loop: tuple[float, float], peak: float) -> dict[str, Any]:
    seconds = sorted(value for run in runs for value in run["seconds"])
    median, processor = statistics.median(seconds), _median(runs, "cpu")
    gflop = runs[0]["gflop"]
    return {
        "seconds": [round(value, 4) for value in (seconds[0], median, seconds[-1])],
        "cpu_seconds": round(processor, 4),
        "times_loop": round(loop[0] / median, 2),
        "times_loop_cpu": round(loop[1] / processor, 2),  # hardly moves with load from elsewhere
        "images_per_second": round(CLASSES * (REAL_BATCH + IPC) / median, 1),
        "gflop": round(gflop, 1),
        "peak_gflops": round(peak, 1),
        "fraction_of_peak": round(gflop / median / peak, 3),
        "peak_mebibytes": round(statistics.median(run["peak_bytes"] for run in runs) / 2**20),
    }


def measure(side: str, method: str, threads: int, steps: int) -> dict[str, Any]:
    """Wall and processor seconds of each step after the first two; peak memory of the process."""
    if side != "loop":
        allocator.keep_memory()
    import torch

    torch.set_num_threads(threads)
    wall: list[float] = []
    processor: list[float] = []

    def mark() -> None:
        wall.append(time.perf_counter())
        processor.append(time.process_time())

    train = _train()
    if side in ("loop", "tuned"):
        _loop(method, train, steps + 2, mark)
    else:
        _ours(method, train, steps + 2, side == "compiled", mark)
    return {
        "seconds": [after - before for before, after in itertools.pairwise(wall[2:])],
        "cpu": [after - before for before, after in itertools.pairwise(processor[2:])],
        "gflop": _operations(method, train, steps + 2) / (steps + 2) / 1e9,
        "peak_bytes": peak_bytes(),
    }


def _train() -> Any:
    import torch

    from condense.data import Split

    count = CLASSES * PER_CLASS
    pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Split.from_arrays(pixels, torch.arange(count) % CLASSES, [str(label) for label in range(CLASSES)])


def _plugin(method: str, steps: int) -> tuple[Any, Any]:
    from condense import methods
    from condense.method import with_overrides

    plugin = methods.get(method)
    changes = {"steps": steps, "real_batch": REAL_BATCH, "network": NETWORKS[method], "preprocessing": "normalise"}
    return plugin, with_overrides(method, plugin.config(), changes)


def _operations(method: str, train: Any, steps: int) -> float:
    from condense.budget import Budget

    plugin, config = _plugin(method, steps)
    return float(plugin.cost(train, Budget(ipc=IPC), config).operations)


def _ours(method: str, train: Any, steps: int, compiled: bool, mark: Callable[[], None]) -> None:
    from condense.budget import Budget
    from condense.run import Run

    class Marked(Run):
        def loop(self, *arguments: Any, **options: Any) -> Iterator[int]:
            for step in super().loop(*arguments, **options):
                mark()
                yield step
            mark()

    plugin, config = _plugin(method, steps)
    with tempfile.TemporaryDirectory() as folder, Marked(folder, seed=0, compile=compiled) as run:
        plugin.distill(train, Budget(ipc=IPC), config, run)


def _loop(method: str, train: Any, steps: int, mark: Callable[[], None]) -> None:
    """The loop over classes of the published codes, with this project's augmentation and networks."""
    import torch

    from condense import networks, preprocessing
    from condense.augment import DSA

    space = preprocessing.fit("normalise", train)
    real = space.forward(train.take(torch.arange(len(train))))
    members = [train.of_class(label) for label in range(CLASSES)]
    images = torch.cat([real[rows[:IPC]] for rows in members]).requires_grad_()
    optimiser = torch.optim.SGD([images], lr=1.0, momentum=0.5)
    augment = DSA()
    for _ in range(steps):
        mark()
        network = networks.build(NETWORKS[method], train.shape, CLASSES, torch.Generator().manual_seed(torch.seed()))
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        pairs = []
        for label, rows in enumerate(members):
            draw = augment.draw(1, train.shape, torch.Generator().manual_seed(label), shared=True)
            batch = real[rows[torch.randperm(len(rows))[:REAL_BATCH]]]
            pairs.append((augment.apply(batch, draw), augment.apply(images[label * IPC : (label + 1) * IPC], draw)))
        loss = _embedding_loss(network, pairs) if method == "dm" else _attention_loss(network, pairs)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    mark()


def _embedding_loss(network: Any, pairs: list[tuple[Any, Any]]) -> Any:
    import torch

    loss = torch.zeros(())
    for batch, synthetic in pairs:
        target = network.embed(batch).detach().mean(0)
        loss = loss + ((target - network.embed(synthetic).mean(0)) ** 2).sum()
    return loss


def _attention_loss(network: Any, pairs: list[tuple[Any, Any]]) -> Any:
    import torch

    def attention(layer: Any) -> Any:
        pooled = layer.abs().pow(4).sum(1).flatten(1)
        return pooled / pooled.norm(dim=1, keepdim=True)

    target = network.activations(torch.cat([batch for batch, _ in pairs]))
    matched = network.activations(torch.cat([synthetic for _, synthetic in pairs]))
    loss = torch.zeros(())
    for real_map, synthetic_map in zip(target.maps[:-1], matched.maps[:-1], strict=True):
        real_classes = attention(real_map.detach()).unflatten(0, (CLASSES, REAL_BATCH)).mean(1)
        synthetic_classes = attention(synthetic_map).unflatten(0, (CLASSES, IPC)).mean(1)
        loss = loss + 100 * ((real_classes - synthetic_classes) ** 2).sum()
    means = target.embedding.detach().unflatten(0, (CLASSES, REAL_BATCH)).mean(1)
    return loss + ((means - matched.embedding.unflatten(0, (CLASSES, IPC)).mean(1)) ** 2).sum()


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    run_as_script(main)
