"""`condense show`, `card`, `verify`, `import` and `export`: distilled sets in and out."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from condense import files
from condense.errors import BadInput

if TYPE_CHECKING:
    from condense.data import Dataset
    from condense.distilled import DistilledSet
    from condense.distilled.card import Result
    from condense.distilled.foreign import Probe

PREVIEWS = Path("runs/previews")


def show(arguments: argparse.Namespace) -> int:
    """Draws the images as pictures, undoing the preprocessing, and prints the file."""
    from condense.distilled import preview

    distilled = _bound(arguments)
    target = arguments.out or PREVIEWS / f"{files.safe_name(Path(arguments.set).name)}.png"
    buffer = io.BytesIO()
    preview.grid(distilled, arguments.per_class).save(buffer, format="PNG")
    files.write_bytes(target, buffer.getvalue())
    print(target)
    return 0


def card(arguments: argparse.Namespace) -> int:
    """Prints the card as Markdown with Hugging Face metadata."""
    from condense import api, distilled
    from condense.distilled import card as cards

    judged = distilled.load(api.set_folder(arguments.set))
    results = None if arguments.results is None else list(_results(judged, arguments.results))
    print(cards.render(judged, results), end="")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Prints each problem, or that there is none; 1 when there is one."""
    from condense import api, distilled
    from condense.evaluate.verify import verify_record

    damaged = False
    for path in arguments.paths:
        if Path(path).suffix == ".json":
            if not Path(path).is_file():
                raise BadInput(f"{path}: there is no such record; give the folder of a set or the file of a record")
            problems = verify_record(path)
        else:
            problems = distilled.verify(api.set_folder(path))
        for problem in problems:
            print(problem)
        if not problems:
            print(f"{path}: intact")
        damaged |= bool(problems)
    return int(damaged)


def import_set(arguments: argparse.Namespace) -> int:
    """Saves the foreign set as a distilled set and prints its folder; warns when a probe learns nothing from it."""
    from condense import data, distilled
    from condense.api.place import require_writable
    from condense.distilled import formats
    from condense.distilled.foreign import Request
    from condense.distilled.replacing import require_apart, require_saved

    require_apart(arguments.source, arguments.out)
    files.require_replaceable(arguments.out, arguments.replace)
    if arguments.replace:
        require_saved(arguments.out)
    require_writable(arguments.out.parent, "--out")
    dataset = data.load(arguments.dataset, data_dir=arguments.data_dir, cache_dir=arguments.cache_dir)
    request = Request(
        arguments.source,
        dataset,
        space=arguments.space,
        label_form=arguments.label_form,
        step_size=arguments.step_size,
        method=arguments.method,
        title=arguments.title,
        seed=arguments.seed,
        cache_dir=arguments.cache_dir,
    )
    imported = formats.import_set(arguments.format, request, None if arguments.no_probe else _probe(dataset))
    distilled.save(imported.distilled, arguments.out, replace_existing=arguments.replace)
    if imported.probe is not None:
        print(imported.probe, file=sys.stderr)
    elif not arguments.no_probe:
        print("no probe: the set holds target vectors and knows no classes", file=sys.stderr)
    print(arguments.out)
    return 0


def export_set(arguments: argparse.Namespace) -> int:
    """Writes the set in another layout and prints where."""
    from condense import api
    from condense.distilled import formats
    from condense.distilled.replacing import require_apart

    require_apart(api.set_folder(arguments.set), arguments.target)
    distilled = _bound(arguments)
    notes = formats.export_set(arguments.format, distilled, arguments.target, replace_existing=arguments.replace)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(arguments.target)
    return 0


def _bound(arguments: argparse.Namespace) -> DistilledSet:
    """The set; one that points into real data, or that is whitened without matrices, comes with its training split."""
    from condense import api, data, distilled
    from condense.distilled import schema

    folder = api.set_folder(arguments.set)
    name = schema.read(folder).provenance.get("dataset", {}).get("name")
    if name is None:
        return distilled.load(folder)
    dataset = data.load(name, data_dir=arguments.data_dir, cache_dir=arguments.cache_dir)
    return distilled.load(folder, train=dataset.train, cache_dir=arguments.cache_dir)


def _probe(dataset: Dataset) -> Probe:
    """Trains the network of the `validation` protocol on the set and tries it on a tenth of the real training data."""
    from condense import data
    from condense.evaluate.validator import make_validator

    _, held = data.validation_split(dataset.train)
    accuracy = make_validator(held)
    return lambda imported: (round(accuracy(imported) * len(held)), len(held))


def _results(distilled: DistilledSet, folder: Path) -> Iterator[Result]:
    from condense.distilled.card import Result
    from condense.evaluate import records
    from condense.evaluate.statistics import summary

    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder; give the folder that holds records/ with --results")
    for record in records.read_all(folder):
        if record.set.id != distilled.id:
            continue
        protocol = f"{record.protocol.name}-{record.protocol.version}"
        for network, cell in record.cells.items():
            if cell.status == "ok":
                found = summary(cell.accuracy)
                half = found.half or 0.0
                yield Result(protocol, network, found.mean, found.mean - half, found.mean + half, found.n)
