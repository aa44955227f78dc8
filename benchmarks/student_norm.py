"""Why recovered images lose to random ones on the ResNet and not on the ConvNet: the network, or its norm?

    python benchmarks/student_norm.py --threads 1 --out results/benchmarks/student-norm.json

The two students of the narrow protocols differ in both: the ConvNet has instance norm, the ResNet batch norm, whose
running statistics come from the images that it is trained on. Images are recovered to have the statistics of their
teacher's maps, not of a student's, so that a student may meet real test images with statistics that do not fit them.
Here each network is trained with each norm on the sets of `decoupled_grid.py run`, which have to be there, and judged
by a common protocol. What is believed is written to the file before anything is judged, and the verdict after: the rule
is that of the tables, on the gap between recovered and random images with instance norm less that with batch norm,
paired by distillation and evaluation seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from decoupled_grid import EVALUATIONS, PROTOCOLS, RESULTS, rows
from grid_runs import Outcomes, Runs, call, difference
from processes import command_line, first_stated, machine_facts, print_result, run_as_script

from condense import allocator

HYPOTHESIS = (
    "Recovered images lose to random ones on the ResNet-10 because of its batch norm: with instance norm the gap "
    "between them is smaller by more than chance, and with batch norm the ConvNet has a larger one."
)
NETWORKS = {
    ("resnet10", "instance"): "resnet10:norm=instance,width=16",
    ("resnet10", "batch"): "resnet10:norm=batch,width=16",
    ("convnet-d3", "instance"): "convnet-d3:width=32",
    ("convnet-d3", "batch"): "convnet-d3:norm=batch,width=32",
}
FAMILIES = ("resnet10", "convnet-d3")
BASELINE, RECOVERED = "random", ("sre2l-plus-plus", "cvdd")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [row.name for row in rows()]
    text = "of decoupled_grid.py"
    options.add_argument("--rows", nargs="+", default=list(RECOVERED), choices=known, metavar="NAME", help=text)
    options.add_argument("--protocol", default=PROTOCOLS[0])
    options.add_argument("--results", type=Path, default=RESULTS)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--out", type=Path, required=True)
    given = options.parse_args()
    if missing := [str(folder) for row in (BASELINE, *given.rows) for folder in folders(row) if not folder.is_dir()]:
        options.error(f"{', '.join(missing)} not there; make them by decoupled_grid.py run")
    allocator.prepare(given.threads)
    stated = first_stated(given.out, statement(given))
    for row in (BASELINE, *given.rows):
        for folder in folders(row):
            words = ["--protocol", given.protocol, "--networks", *NETWORKS.values(), "--seeds", str(EVALUATIONS)]
            words += ["--threads", str(given.threads), "--results", str(given.results)]
            if not call(["evaluate", str(folder), *words], dry_run=False):
                raise SystemExit(f"{folder} could not be judged; start again to go on")
    outcomes = Outcomes(given.results)
    found = {
        row: {cell: outcomes.accuracies(folders(row), given.protocol, name) for cell, name in NETWORKS.items()}
        for row in (BASELINE, *given.rows)
    }
    if missing := [f"{row} on {NETWORKS[cell]}" for row, cells in found.items() for cell in cells if not cells[cell]]:
        raise SystemExit(f"{given.results} has no accuracy of {', '.join(missing)}; look at what `condense` said above")
    measured = {row: compared(found[row], found[BASELINE]) for row in given.rows}
    print_result(stated | {"rows": measured, "machine": machine_facts()}, given.out)


def folders(row: str) -> list[Path]:
    """Of the sets of one row, by distillation seed."""
    return [found.folder(seed) for found in rows() if found.name == row for seed in range(found.seeds)]


def statement(given: argparse.Namespace) -> dict[str, Any]:
    """What is believed and how it will be tested, known before anything is judged."""
    from condense.evaluate.version import commit

    return {
        "hypothesis": HYPOTHESIS,
        "protocol": given.protocol,
        "networks": {f"{family}, {norm}": name for (family, norm), name in NETWORKS.items()},
        "stated_by": {"command": command_line(), "commit": commit()},
    }


Cells = dict[tuple[str, str], Runs]  # by family and norm of the network


def compared(recovered: Cells, random: Cells) -> dict[str, Any]:
    """For each network the gap to random images, and for each family how much it changes with the norm, in points."""
    gaps = {
        cell: {run: values[run] - random[cell][run] for run in values if run in random[cell]}
        for cell, values in recovered.items()
    }
    lines: dict[str, Any] = {}
    for family in FAMILIES:
        change = difference(gaps[family, "instance"], gaps[family, "batch"])
        lines[family] = {
            norm: {
                "accuracy": [
                    100 * sum(cell.values()) / len(cell) for cell in (recovered[family, norm], random[family, norm])
                ],
                "gap": difference(recovered[family, norm], random[family, norm]),
            }
            for norm in ("instance", "batch")
        }
        lines[family] |= {"instance - batch": change, "verdict": verdict(change)}
    return lines


def verdict(change: dict[str, Any] | None) -> str:
    """ "holds" when the gap is smaller with instance norm, "refuted" when it is larger, else "open"."""
    if change is None or change["p"] is None or change["p"] >= 0.05:
        return "open"
    return "holds" if change["mean"] > 0 else "refuted"


if __name__ == "__main__":
    run_as_script(main)
