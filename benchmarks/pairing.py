"""Paired accuracies of two engines: the same set, the same seeds, hence the same initial weights and the same draws.

Used by benchmarks/batched_seeds.py and benchmarks/precision.py. The set is `ipc` random real images a class, the recipe
that of the matching papers with DSA, the accuracy that of the last epoch on the whole test split. The file given by
--out is written after every group of seeds, and seeds that it holds are not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from condense import allocator, machine, networks, preprocessing
from condense.augment import DSA
from condense.data import Dataset, load
from condense.distilled.labels import HardLabels
from condense.evaluate.statistics import paired
from condense.run.randomness import generator
from condense.training import Engine, Recipe, Resident, SplitSource, accuracy, on_device, train_seeds

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Variant:
    """One side of the pair: an engine, and how many seeds it trains at once."""

    name: str
    engine: Engine
    together: int = 1


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that both experiments have."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--dataset", default="cifar10")
    options.add_argument("--ipc", type=int, default=10)
    options.add_argument("--network", default="convnet-d3:width=32")
    options.add_argument("--epochs", type=int, default=1000, help="nominal, as in the papers: one more is made")
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--threads", type=int, default=os.cpu_count())
    options.add_argument("--test-images", type=int, help="only the first so many, for a smoke run")
    options.add_argument("--out", type=Path, required=True)
    return options


def compare(given: argparse.Namespace, first: Variant, second: Variant, bound: float) -> None:
    """Trains what is missing and prints the paired difference, second minus first, in points of accuracy.

    bound: half-width in points that the whole interval must lie within for the engines to count as equal.
    """
    allocator.keep_memory()
    torch.set_num_threads(given.threads)
    data = load(given.dataset)
    settings = {name: value for name, value in vars(given).items() if name not in ("out", "threads", "seeds")}
    settings |= {variant.name: str(variant.engine) for variant in (first, second)}
    result = _begun(given.out, settings)
    for variant in (first, second):
        found: dict[str, dict[str, float]] = result["runs"].setdefault(variant.name, {})
        missing = [seed for seed in range(given.seeds) if str(seed) not in found]
        for start in range(0, len(missing), variant.together):
            found |= _trained(given, data, variant, missing[start : start + variant.together])
            result["summary"] = _summary(result["runs"], first.name, second.name, bound)
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(result["summary"], indent=1))


def _begun(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    if path.exists():
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if result["settings"] != settings:
            raise SystemExit(f"{path} holds a run with other settings ({result['settings']}); choose another --out")
        return result
    return {"settings": settings, "machine": machine.describe(), "runs": {}, "summary": None}


def _trained(
    given: argparse.Namespace, data: Dataset, variant: Variant, seeds: Sequence[int]
) -> dict[str, dict[str, float]]:
    space = preprocessing.fit("normalise", data.train)
    source, test = _chosen(data, given.ipc, space), data.test
    if given.test_images:
        test = test.subset(torch.arange(given.test_images))
    recipe = Recipe.matching(given.epochs, augment=DSA.for_split(data.train).spec(), precision=variant.engine.precision)

    def build(initial: torch.Generator) -> torch.nn.Module:
        return networks.build(given.network, data.shape, data.train.n_classes, initial)

    begin = time.perf_counter()
    rngs = [lambda name, *ids, seed=seed: generator(seed, name, *ids) for seed in seeds]
    trained = train_seeds(build, source, recipe, rngs, engine=variant.engine)
    seconds = (time.perf_counter() - begin) / len(seeds)
    # Both sides are tested by the same float32 forward pass: the question is what training made of the weights.
    ready = on_device(SplitSource(test, space), CPU)
    scores = [accuracy(network.to(memory_format=torch.contiguous_format), ready) for network in trained]
    return {
        str(seed): {"accuracy": score, "seconds": round(seconds, 2)} for seed, score in zip(seeds, scores, strict=True)
    }


def _chosen(data: Dataset, ipc: int, space: preprocessing.Preprocessing) -> Resident:
    classes = range(data.train.n_classes)
    members = [data.train.of_class(label) for label in classes]
    rows = torch.cat([m[torch.randperm(len(m), generator=generator(0, "set", k))[:ipc]] for k, m in enumerate(members)])
    labels = HardLabels(data.train.labels[rows], data.train.n_classes)
    return Resident(space.forward(data.train.take(rows)), labels, data.train.n_classes)


def _summary(
    runs: Mapping[str, Mapping[str, Mapping[str, float]]], first: str, second: str, bound: float
) -> dict[str, Any] | None:
    scores = {name: {seed: 100 * run["accuracy"] for seed, run in found.items()} for name, found in runs.items()}
    difference = paired(scores.get(second, {}), scores.get(first, {}))
    if difference is None or difference.n < 2:
        return None
    half = difference.half or 0.0  # None where all differences are equal
    interval = [difference.mean - half, difference.mean + half]
    return {
        "pairs": difference.n,
        "mean_points": {name: sum(found.values()) / len(found) for name, found in scores.items()},
        "difference_points": difference.mean,
        "interval_95": interval,
        "contains_zero": interval[0] <= 0.0 <= interval[1],
        "inside_bound": -bound < interval[0] and interval[1] < bound,
        "bound_points": bound,
    }
