"""One experiment that explains a number of the transfer table: a hypothesis, one factor changed, a paired interval.

    python benchmarks/transfer_factor.py learned-targets --images 100
    python benchmarks/transfer_factor.py --list

Each experiment states its hypothesis before it is run. It distils KRR-ST's set with and without one change, everything
else and all seeds equal, judges both under one protocol, and writes the paired differences, changed minus unchanged, in
points with their 95 % interval for every target and use. Interrupted, it resumes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processes import machine_facts, print_result
from transfer import DISTILLATION_SEEDS, SETTINGS, TARGETS, distilled, prepared

if TYPE_CHECKING:
    from condense.api import Place


@dataclass(frozen=True)
class Experiment:
    """What is believed, and the one change that would show it."""

    hypothesis: str
    change: Mapping[str, str]  # settings of KRR-ST
    protocol: str = "transfer-short"


EXPERIMENTS = {
    "learned-targets": Experiment(
        "With a short training on the set and a linear probe, learned targets cost accuracy: they answer for networks "
        "at the end of long inner training. With the teacher's own features as targets the loss against random images "
        "with teacher features shrinks or vanishes.",
        {"lr_targets": "0"},
    ),
    "learned-images": Experiment(
        "What is lost in short probing comes from the images, not from the targets: images that stay real lose "
        "nothing.",
        {"lr_images": "1e-12"},
    ),
    "young-pool": Experiment(
        "The sets fit networks of the age of the pool's. A pool of networks of at most 20 updates makes sets that are "
        "better under short training than one of at most 500.",
        {"inner_steps": "20"},
    ),
    "pixel-start": Experiment(
        "The authors' code starts from pixels that are not normalised; networks that are trained on these and used on "
        "normalised images lose by it.",
        {"initial_space": "pixels"},
    ),
    "longer": Experiment(
        "The gain over random images with teacher features when few labels are fine-tuned on grows with outer steps.",
        {"steps": "20000"},
        protocol="transfer-narrow",
    ),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("experiment", nargs="?", choices=EXPERIMENTS)
    options.add_argument("--list", action="store_true", help="print the experiments and their hypotheses")
    options.add_argument("--images", type=int, default=100)
    options.add_argument("--protocol", help="instead of the experiment's")
    options.add_argument("--targets", nargs="+", default=list(TARGETS))
    options.add_argument("--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE")
    options.add_argument("--results", type=Path, default=Path("runs/transfer-factors"), help="of the records")
    options.add_argument("--out", type=Path, help="(default: results/benchmarks/transfer-factor-<experiment>.json)")
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args()
    if given.list or given.experiment is None:
        for name, experiment in EXPERIMENTS.items():
            print(f"{name}: {experiment.hypothesis} ({experiment.change}, {experiment.protocol})")
        return
    place = prepared(given.threads)
    out = given.out or Path(f"results/benchmarks/transfer-factor-{given.experiment}.json")
    print_result(measure(EXPERIMENTS[given.experiment], given, place), out)


def measure(experiment: Experiment, given: argparse.Namespace, place: Place) -> dict[str, Any]:
    """Both sides and their differences."""
    from condense import api

    protocol = given.protocol or experiment.protocol
    common = SETTINGS | dict(word.split("=", 1) for word in given.overrides)
    runs: list[dict[tuple[str, str, str], dict[tuple[int, int], float]]] = []
    for settings in (common, common | experiment.change):
        sets = [distilled(given.images, settings, seed, place) for seed in range(DISTILLATION_SEEDS)]
        report = api.transfer(
            sets, given.targets, protocol, baselines=False, references=False, results=given.results, place=place
        )
        if report.failures:
            raise SystemExit("; ".join(report.failures))
        runs.append(_runs(report.records))
    return {
        "hypothesis": experiment.hypothesis,
        "change": dict(experiment.change),
        "settings": common,
        "images": given.images,
        "protocol": protocol,
        "differences": _differences(*runs),
        "machine": machine_facts(),
    }


def _runs(paths: list[Path]) -> dict[tuple[str, str, str], dict[tuple[int, int], float]]:
    """Accuracy by (target, network, use) and (distillation seed, evaluation seed)."""
    from condense.evaluate.transfer import records

    found: dict[tuple[str, str, str], dict[tuple[int, int], float]] = {}
    for record in map(records.read, paths):
        assert record.set is not None
        for at, cell in record.places():
            column = found.setdefault((at.target, at.network, at.setting), {})
            column |= {(record.set.seed, seed): value for seed, value in zip(cell.seeds, cell.accuracy, strict=True)}
    return found


def _differences(
    unchanged: Mapping[tuple[str, str, str], Mapping[tuple[int, int], float]],
    changed: Mapping[tuple[str, str, str], Mapping[tuple[int, int], float]],
) -> list[dict[str, Any]]:
    from condense.evaluate.statistics import paired, summary

    lines = []
    for column in sorted(unchanged.keys() & changed.keys()):
        gap = paired(changed[column], unchanged[column])
        if gap is None:
            continue
        line: dict[str, Any] = dict(zip(("target", "network", "use"), column, strict=True))
        line |= {"unchanged": 100 * summary(list(unchanged[column].values())).mean, "pairs": gap.n}
        line |= {"difference": 100 * gap.mean, "half": None if gap.half is None else 100 * gap.half, "p": gap.p}
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
