"""`condense distill`, `gate`, `evaluate`, `bench` and the like: each hands its request on and prints the result."""

from __future__ import annotations

import argparse
import shlex
import shutil
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from condense import allocator
from condense.cli import parser, tables
from condense.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from condense.api import Place
    from condense.evaluate.parts import Cell
    from condense.evaluate.records import Record

CARDS = "data_cards"
DEVICES = ("cpu", "cuda")


def distill(arguments: argparse.Namespace) -> int:
    """Prints the folder of the distilled set."""
    (budget,) = parser.budgets(arguments)
    overrides = parser.overrides(arguments.overrides)
    place = _place(arguments)
    from condense import api

    saved = api.distill(
        arguments.method,
        arguments.dataset,
        budget=budget,
        seed=arguments.seed,
        preset=arguments.preset,
        overrides=overrides,
        out=arguments.out,
        place=place,
    )
    print(saved)
    return 0


def gate(arguments: argparse.Namespace) -> int:
    """Prints both probes; 1 when the teacher did not pass."""
    overrides = parser.overrides(arguments.overrides)
    place = _place(arguments)
    from condense import api
    from condense.self_supervised.gate import MARGIN

    found = api.gate(
        arguments.method,
        arguments.dataset,
        preset=arguments.preset,
        overrides=overrides,
        weights=arguments.weights,
        place=place,
    )
    scores = [f"{100 * value:.2f}" for value in (found.gate.teacher, found.gate.random)]
    tables.show(("teacher", "random weights", "gate"), [[*scores, "passed" if found.gate.passed else "not passed"]])
    if found.weights is not None:
        print(found.weights)
    if not found.gate.passed:
        points = f"{100 * MARGIN:.0f} points above that of random weights"
        advice = "train it for longer, or take another"
        if found.gate.random + MARGIN > 1:
            advice = f"none could be, since these reach {scores[1]} % here: choose harder data to judge it by"
        print(f"condense: failed: the teacher's probe is less than {points}; {advice}", file=sys.stderr)
    return int(not found.gate.passed)


def evaluate(arguments: argparse.Namespace) -> int:
    """Prints one line for each set and network, and the record that holds it; 1 when a network failed."""
    place = _place(arguments)
    from condense import api, distilled
    from condense.evaluate import records
    from condense.evaluate.transfer import protocol as transfers

    if transfers.is_shipped(arguments.protocol):
        words = " ".join(arguments.sets)
        raise BadInput(
            f"{arguments.protocol} is a protocol for other data; use "
            f"`condense transfer {words} --targets DATASET --protocol {arguments.protocol}`"
        )
    for name in arguments.sets:
        distilled.load(
            api.set_folder(name)
        )  # a set that is missing or damaged is told before hours were spent on the others
    failed = False
    for name in arguments.sets:
        path = api.score(
            name,
            arguments.protocol,
            networks=arguments.networks,
            seeds=arguments.seeds,
            dataset=arguments.dataset,
            results=arguments.results,
            command=_command(arguments),
            place=place,
        )
        record = records.read(path)
        tables.show(("set", "network", "accuracy", "seeds", "note"), _cells(Path(name).name, record))
        print(f"record: {path}", file=sys.stderr)
        failed |= _report_failures(record, path)
    return int(failed)


def relabel(arguments: argparse.Namespace) -> int:
    """Prints the folder of the set with new labels."""
    place = _place(arguments)
    from condense import api

    saved = api.relabel(
        arguments.set,
        arguments.labels,
        seed=arguments.seed,
        dataset=arguments.dataset,
        out=arguments.out,
        place=place,
    )
    print(saved)
    return 0


def transfer(arguments: argparse.Namespace) -> int:
    """Prints one line for each start, target, network and use; 1 when something failed."""
    place = _place(arguments)
    from condense import api
    from condense.evaluate.transfer import records

    report = api.transfer(
        arguments.sets,
        arguments.targets,
        arguments.protocol,
        networks=arguments.networks,
        seeds=arguments.seeds,
        baselines=arguments.baselines,
        references=arguments.references,
        teacher=arguments.teacher,
        dataset=arguments.dataset,
        results=arguments.results,
        command=_command(arguments),
        place=place,
    )
    columns = ("start", "target", "network", "use@share", "accuracy", "seeds", "note")
    for path in report.records:
        record = records.read(path)
        start = record.start if record.set is None else f"{record.set.method}-s{record.set.seed}"
        tables.show(
            columns,
            [
                [start, at.target, at.network, at.setting, _accuracy(cell), len(cell.seeds), cell.reason]
                for at, cell in record.places()
            ],
        )
        print(f"record: {path}", file=sys.stderr)
    for failure in report.failures:
        print(f"condense: failed: {failure}", file=sys.stderr)
    return int(bool(report.failures))


def bench(arguments: argparse.Namespace) -> int:
    """Prints the leaderboard of what was run; 1 when a set could not be distilled or a network failed."""
    budgets = parser.budgets(arguments)
    place = _place(arguments)
    from condense import api
    from condense.evaluate import leaderboard

    report = api.bench(
        arguments.dataset,
        budgets,
        methods=arguments.methods,
        preset=None if arguments.preset == "none" else arguments.preset,
        protocol=arguments.protocol,
        networks=arguments.networks,
        seeds=arguments.seeds,
        distill_seeds=arguments.distill_seeds,
        labels=arguments.labels,
        results=arguments.results,
        command=_command(arguments),
        place=place,
    )
    leaderboard.write(arguments.results, arguments.results / CARDS)
    print(leaderboard.text(arguments.results, _width()))
    print(f"tables, plots and records: {arguments.results}", file=sys.stderr)
    for reason in report.left_out:
        print(f"condense: left out: {reason}", file=sys.stderr)
    for failure in report.failures:
        print(f"condense: failed: {failure}", file=sys.stderr)
    return int(bool(report.failures))


def leaderboard(arguments: argparse.Namespace) -> int:
    """Draws everything again, or with --check prints what differs from the records."""
    from condense.evaluate import leaderboard as board

    results = arguments.results
    if not results.is_dir():
        state = "is a file" if results.is_file() else "does not exist"
        raise BadInput(f"{results} {state}; give the folder that holds records/ with --results")
    cards = arguments.cards or (Path(CARDS) if results == Path("results") else results / CARDS)
    if arguments.check:
        problems = board.check(results, cards)
        for problem in problems:
            print(problem)
        if problems:
            print(f"condense: failed: the leaderboard under {results} is not what the records give", file=sys.stderr)
        return int(bool(problems))
    written = board.write(results, cards)
    print(board.text(results, _width()))
    print(f"{len(written)} files drawn from the records under {results}", file=sys.stderr)
    return 0


def _place(arguments: argparse.Namespace) -> Place:
    """Readies the process for computing, which must come before the first import of PyTorch, and says where."""
    allocator.prepare(arguments.threads)
    import torch

    from condense.api import Place
    from condense.progress import NoProgress, Progress

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    return Place(
        device=_device(arguments.device),
        data_dir=arguments.data_dir,
        cache_dir=arguments.cache_dir,
        time_budget=getattr(arguments, "time_budget", None),
        checkpoint_seconds=getattr(arguments, "checkpoint_seconds", 30.0),
        shared=getattr(arguments, "shared", False),
        compile=getattr(arguments, "compile", False),
        progress=NoProgress() if arguments.quiet else Progress(),
    )


def _device(name: str) -> str:
    import torch

    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise UnknownName("device", name, DEVICES)
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # "Torch not compiled with CUDA enabled" is an AssertionError
        reason = str(error).split("\n")[0].split(". ")[0].rstrip(".")
        raise BadInput(f"device {name!r} cannot be used ({reason}); give one that is there, such as cpu") from None
    return name


def _width() -> int:
    return shutil.get_terminal_size((120, 24)).columns  # 120 where stdout is no terminal


def _command(arguments: argparse.Namespace) -> str:
    return shlex.join(["condense", *arguments.words])


def _cells(name: str, record: Record) -> list[list[object]]:
    return [[name, network, _accuracy(cell), len(cell.seeds), cell.reason] for network, cell in record.cells.items()]


def _accuracy(cell: Cell) -> str:
    """Mean and standard deviation in percent, or what became of the cell."""
    if cell.status != "ok":
        return cell.status
    values = [100 * value for value in cell.accuracy]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def _report_failures(record: Record, path: Path) -> bool:
    failed = [network for network, cell in record.cells.items() if cell.status == "failed"]
    for network in failed:
        print(f"condense: failed: {network}: {record.cells[network].reason}; see {path}", file=sys.stderr)
    return bool(failed)
