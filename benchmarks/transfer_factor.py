"""One experiment that explains a number of the transfer table: a hypothesis, one factor changed, a paired interval.

    python benchmarks/transfer_factor.py learned-targets --images 100
    python benchmarks/transfer_factor.py --list

Each experiment states its hypothesis, and the one target and use that it is about, before it is run. It distils a set
of KRR-ST with and without one change, everything else and all seeds equal, and judges both under one protocol beside
random images with teacher features, from which both start. For every target and use it writes three paired differences
in points: unchanged - random, changed - random, changed - unchanged. The last one in the stated cell tests the
hypothesis, by the rule of the tables for "better" and "worse"; "within" holds when the 95 % interval over runs and the
mean of each distillation seed lie inside the margin. No correction is made for the other cells, which are there to be
looked at. What is believed is written to the JSON before anything is made, and the verdict after. Interrupted, it
resumes. The unchanged and the random sets are those of the table of `transfer.py`, whose records are used and completed
unless --set or a frozen teacher makes them others; changed ones stay out of it.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from grid_runs import difference
from processes import command_line, first_stated, machine_facts, print_result
from transfer import DISTILLATION_SEEDS, SETTINGS, SOURCE, TARGETS, distilled, gated, prepared, require_passed

if TYPE_CHECKING:
    from condense.api import Place


@dataclass(frozen=True)
class Experiment:
    """What is believed, and the one change that would show it."""

    hypothesis: str
    change: Mapping[str, str]  # settings of KRR-ST
    expects: Literal["better", "worse", "within"]  # changed - unchanged in the stated cell
    margin: float = 1.0  # points; of "within"
    frozen_teacher: bool = False  # take the trained teacher as a file, so that its training is the same on both sides
    protocol: str = "transfer-short"
    target: str = "cifar10[5-9]"
    use: str = "probe@0.01"
    known: str = "nothing of the cell"  # when it was chosen


_SEEN = (
    "the table of both sets, where KRR-ST is behind random images with teacher features here, by half a point, and the "
    "cell was chosen for it: the unchanged side is the table's, and looks somewhat worse than another one would"
)


EXPERIMENTS = {
    "learned-images": Experiment(
        "What is lost against random images with teacher features when all labels are fine-tuned on comes from the "
        "images: early layers fit patterns that natural images lack, and have to give them up again. Sets whose images "
        "stay real, with learned targets, lose nothing.",
        {"lr_images": "0"},
        "better",
        protocol="transfer-narrow",
        target="fashion-mnist+rgb@32",
        use="fine-tune@1",
        known=_SEEN,
    ),
    "learned-targets": Experiment(
        "What is lost when all labels are fine-tuned on comes from the targets, which answer for networks at the end "
        "of long inner training. With the teacher's own features as targets the loss shrinks or vanishes.",
        {"lr_targets": "0"},
        "better",
        protocol="transfer-narrow",
        target="fashion-mnist+rgb@32",
        use="fine-tune@1",
        known=_SEEN,
    ),
    "authors-pool": Experiment(
        "The authors' code never trains a network again that was born anew, so that most of a run regresses on random "
        "networks. Sets made so are worse under short training than those of a pool that goes on being trained.",
        {"rebirth": "old"},
        "worse",
    ),
    "fresh-views": Experiment(
        "Eight fixed views of each image, with cached teacher features, make as good a set as a fresh crop and a pass "
        "of the teacher in every step: with all labels the difference is below one point.",
        {"cached_views": "0"},
        "within",
        use="probe@1",
    ),
    "teacher-precision": Experiment(
        "Features of one and the same teacher whose convolutions are float32 make no better a set than those in "
        "bfloat16: with all labels the difference is below one point.",
        {"teacher_precision": "float32"},
        "within",
        frozen_teacher=True,
        use="probe@1",
    ),
    "young-pool": Experiment(
        "The sets fit networks of the age of the pool's. A pool of networks of at most 20 updates makes sets that are "
        "better under short training than one of at most 500.",
        {"inner_steps": "20"},
        "better",
    ),
    "pixel-start": Experiment(
        "The authors' code starts from pixels that are not normalised; networks that are trained on these and used on "
        "normalised images lose by it. The rate of the images is a fifth, as plain pixels deviate a fifth as much.",
        {"initial_space": "pixels", "lr_images": "0.0006"},
        "worse",
    ),
    "longer": Experiment(
        "The gain over random images with teacher features when few labels are fine-tuned on grows with outer steps.",
        {"steps": "20000"},
        "better",
        protocol="transfer-narrow",
        use="fine-tune@0.01",
    ),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("experiment", nargs="?", choices=EXPERIMENTS)
    options.add_argument("--list", action="store_true", help="print the experiments and their hypotheses")
    options.add_argument("--images", type=int, default=100)
    options.add_argument("--protocol", help="instead of the experiment's; nothing is tested then")
    options.add_argument("--source", default=SOURCE)
    options.add_argument("--targets", nargs="+", default=list(TARGETS))
    options.add_argument("--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE")
    text = "of the records of sets that are not the table's"
    options.add_argument("--results", type=Path, default=Path("runs/transfer-factors"), help=text)
    options.add_argument("--table", type=Path, default=Path("results"), help="results folder of the table")
    options.add_argument(
        "--out", type=Path, help="(default: results/benchmarks/transfer-factor-<experiment>-<images>.json)"
    )
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args()
    if given.list or given.experiment is None:
        for name, experiment in EXPERIMENTS.items():
            where = f"{experiment.protocol}, {experiment.target}, {experiment.use}"
            expected = (
                f"{experiment.expects} {experiment.margin:g}" if experiment.expects == "within" else experiment.expects
            )
            print(f"{name}: {experiment.hypothesis} ({dict(experiment.change)}; {where}; {expected})")
        return
    place = prepared(given.threads)
    out = given.out or Path(f"results/benchmarks/transfer-factor-{given.experiment}-{given.images}.json")
    experiment = EXPERIMENTS[given.experiment]
    stated = first_stated(out, statement(experiment, given))
    print_result(stated | measure(experiment, given, place), out)


Cell = tuple[str, str, str]  # target, network, use
Runs = dict[Cell, dict[tuple[int | None, int], float]]  # accuracy by distillation and evaluation seed


def statement(experiment: Experiment, given: argparse.Namespace) -> dict[str, Any]:
    """What is believed and how it will be tested, known before anything is made."""
    from condense.evaluate.version import commit

    cell = {"protocol": experiment.protocol, "target": experiment.target, "use": experiment.use}
    margin = {"margin_points": experiment.margin} if experiment.expects == "within" else {}
    return {
        "hypothesis": experiment.hypothesis,
        "change": dict(experiment.change),
        "known_before": experiment.known,
        "stated": cell | {"expects": experiment.expects, "of": "changed - unchanged", **margin},
        "settings": _settings(given),
        "frozen_teacher": experiment.frozen_teacher,
        "source": given.source,
        "images": given.images,
        "protocol": given.protocol or experiment.protocol,
        "stated_by": {"command": command_line(), "commit": commit()},  # what measured stands beside it
    }


def _settings(given: argparse.Namespace) -> dict[str, str]:
    return SETTINGS | dict(word.split("=", 1) for word in given.overrides)


def measure(experiment: Experiment, given: argparse.Namespace, place: Place) -> dict[str, Any]:
    """Both sides, the baseline, their differences, and what these say of the hypothesis."""
    from condense.distilled import load

    protocol = given.protocol or experiment.protocol
    common = _settings(given)
    teacher = gated(given.source, common, place)
    require_passed(teacher.gate)
    if experiment.frozen_teacher:
        common["teacher"] = str(teacher.weights)
    seeds = range(DISTILLATION_SEEDS)
    sides = {
        "random": [_random(given, common, seed, place) for seed in seeds],
        "unchanged": [distilled("krr_st", given, common, seed, place) for seed in seeds],
        "changed": [distilled("krr_st", given, common | experiment.change, seed, place) for seed in seeds],
    }
    apart = {"changed", *(sides if experiment.frozen_teacher or given.overrides else ())}
    runs = {
        side: _judged(sets, protocol, given, given.results if side in apart else given.table, place)
        for side, sets in sides.items()
    }
    lines = _differences(runs)
    stated = (experiment.protocol, experiment.target, experiment.use)
    tested = [line for line in lines if (protocol, line["target"], line["use"]) == stated]
    return {
        "tested": tested,
        "verdict": verdict(experiment, tested[0]["changed - unchanged"] if len(tested) == 1 else None),
        "others": [line for line in lines if line not in tested],
        "sets": {side: [load(folder).id for folder in folders] for side, folders in sides.items()},
        "machine": machine_facts(),
    }


def verdict(experiment: Experiment, found: Mapping[str, Any] | None) -> str:
    """ "holds", "refuted" (the contrary is shown), "open", or why nothing was tested."""
    if found is None:
        return "not tested: the stated cell was not measured"
    mean, half = found["mean"], found["half_interval_over_runs"]
    if experiment.expects == "within":
        if half is None:
            return "open"
        of_sets = found["by_distillation_seed"].values()
        inside = abs(mean) + half <= experiment.margin and all(abs(gap) <= experiment.margin for gap in of_sets)
        return "holds" if inside else "refuted" if abs(mean) - half > experiment.margin else "open"
    if found["p"] is None or found["p"] >= 0.05:
        return "open"
    return "holds" if (mean > 0) == (experiment.expects == "better") else "refuted"


def _random(given: argparse.Namespace, settings: Mapping[str, str], seed: int, place: Place) -> Path:
    """The images that KRR-ST starts from, with the features of its teacher."""
    from condense import api, methods
    from condense.budget import Budget

    names = {field.name for field in dataclasses.fields(methods.get("random_teacher").config_type)}
    shared = {name: value for name, value in settings.items() if name in names}
    budget = Budget(total=given.images)
    return api.distill("random_teacher", given.source, budget=budget, seed=seed, overrides=shared, place=place)


def _judged(sets: list[Path], protocol: str, given: argparse.Namespace, results: Path, place: Place) -> Runs:
    """Accuracies of the sets of one side, whose records lie in `results`."""
    from condense import api
    from condense.evaluate.transfer import records

    report = api.transfer(
        sets,
        given.targets,
        protocol,
        baselines=False,
        references=False,
        results=results,
        command=command_line(),
        place=place,
    )
    if report.failures:
        raise SystemExit("; ".join(report.failures))
    found: Runs = {}
    for record in map(records.read, report.records):
        assert record.set is not None
        for at, cell in record.places():
            column = found.setdefault((at.target, at.network, at.setting), {})
            column |= {(record.set.seed, seed): value for seed, value in zip(cell.seeds, cell.accuracy, strict=True)}
    return found


def _differences(runs: Mapping[str, Runs]) -> list[dict[str, Any]]:
    """One line for each cell: the mean of each side, and the three differences, in points."""
    from condense.evaluate.statistics import summary

    lines = []
    for cell in sorted(set.intersection(*(set(found) for found in runs.values()))):
        line: dict[str, Any] = dict(zip(("target", "network", "use"), cell, strict=True))
        line |= {side: 100 * summary(list(found[cell].values())).mean for side, found in runs.items()}
        for first, second in (("unchanged", "random"), ("changed", "random"), ("changed", "unchanged")):
            line[f"{first} - {second}"] = difference(runs[first][cell], runs[second][cell])
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
