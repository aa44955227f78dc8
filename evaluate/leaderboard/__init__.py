"""The leaderboard: tables, pictures, page and cards, all of them functions of a results folder.

    write(results, cards)    regenerates <results>/leaderboard/ and, given a folder, the cards in it
    check(results, cards)    says what on disk is not what the records give
    text(results, width)     the tables for a terminal

<results>/leaderboard/ belongs to this package: what the records do not give is removed from it. In a cards' folder only
generated cards are.
"""

from __future__ import annotations

import shutil
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from condense import files
from condense.errors import CondenseError
from condense.evaluate import records
from condense.evaluate.leaderboard import (
    board,
    grid,
    latex,
    markdown,
    page,
    reported,
    sections,
    spreadsheet,
    terminal,
    transfers,
)
from condense.evaluate.leaderboard import cards as card_texts
from condense.evaluate.leaderboard.board import Table
from condense.evaluate.leaderboard.grid import Grid
from condense.evaluate.leaderboard.pictures import Picture, pictures_of
from condense.evaluate.leaderboard.reported import Reported
from condense.evaluate.leaderboard.sections import Section
from condense.evaluate.records import Record
from condense.evaluate.transfer import records as transfer_records
from condense.evaluate.transfer import tables as transfer_tables
from condense.evaluate.transfer.tables import TransferTable

__all__ = ["check", "text", "write"]

_PLAIN = "hard-plain"  # the protocol without augmentation, for ARS
_AUGMENTED = "hard-dsa"


@dataclass(frozen=True)
class _Board:
    """Everything that a results folder gives, before anything is drawn or written."""

    records: list[Record]
    tables: list[Table]
    transfers: list[TransferTable]
    sections: dict[str, Section]  # of the tables of either kind, in their order, by path
    sources: list[Reported]
    grids: dict[str, list[Grid]]  # by the path of the table, of either kind
    pictures: list[Picture]


def write(results: str | Path, cards: str | Path | None = None) -> list[Path]:
    """Regenerates the leaderboard of a results folder, and the cards when a folder for them is given.

    Files that are already as they should be are not touched. Returns every file of the leaderboard and the cards; none
    when there are no records.

    Raises:
        DamagedFile: naming the record or the file of reported numbers that cannot be read; nothing is written then.
        BadInput: when records of one table were not measured alike.
    """
    made = _board(results)
    home = _home(results)
    paths = [path for picture in made.pictures for path in picture.write(home)]
    for name, content in _texts(made, home).items():
        _write(home / name, content)
        paths.append(home / name)
    for path in _strangers(home, paths):
        files.discard(path)
    if cards is not None:
        contents = _cards(made, Path(cards))
        for path, content in contents.items():
            _write(path, content)
        for path in _old_cards(Path(cards), contents):
            files.discard(path)
        paths += contents
    return sorted(paths)


def check(results: str | Path, cards: str | Path | None = None) -> list[str]:
    """What is not as the records give it, one line each; empty when all is.

    Texts are regenerated in memory and compared. Of a picture, the hash of the numbers that it was drawn from is.
    """
    try:
        made = _board(results)
    except CondenseError as error:
        return [str(error)]
    home = _home(results)
    problems = [problem for picture in made.pictures for problem in picture.problems(home)]
    expected = [path for picture in made.pictures for path in picture.paths(home)]
    contents = {home / name: content for name, content in _texts(made, home).items()}
    strange = _strangers(home, [*expected, *contents])
    if cards is not None:
        of_cards = _cards(made, Path(cards))
        strange += _old_cards(Path(cards), of_cards)
        contents |= of_cards
    for path, content in contents.items():
        if not path.is_file():
            problems.append(f"{path} is missing")
        elif path.read_bytes() != content.encode():
            problems.append(f"{path} is not what the records give")
    problems += [f"{path} belongs to no record" for path in strange]
    return [f"{problem}; run `condense leaderboard`" for problem in sorted(problems)]


def text(results: str | Path, width: int | None = None) -> str:
    """Every table as text, or a sentence saying that there is nothing to show.

    width: in characters; None is the terminal's, or 100 where there is none.

    Raises:
        DamagedFile: naming the record that cannot be read.
        BadInput: when records of one table were not measured alike.
    """
    made = _board(results)
    if not made.tables and not made.transfers:
        place = Path(results) / "records"
        return f"There are no records under {place}; `condense bench` or `condense evaluate` makes some.\n"
    width = width or shutil.get_terminal_size((100, 24)).columns
    parts = []
    for table in made.tables:
        accuracy, cost, *_ = made.grids[table.key.path]
        parts.append(terminal.text(table, accuracy, cost, width))
    for each in made.transfers:
        parts.append(terminal.plain(made.sections[each.path], made.grids[each.path], width))
    return terminal.joined(parts, width)


def _board(results: str | Path) -> _Board:
    found = records.read_all(results)
    tables = board.tables(found)
    sources = reported.read(results)
    grids = {table.key.path: _grids(table, tables, sources) for table in tables}
    transferred = transfer_tables.tables(transfer_records.read_all(results))
    grids |= {table.path: transfers.grids(table) for table in transferred}
    every = [*map(sections.of_table, tables), *map(transfers.section, transferred)]
    by_path = {section.path: section for section in every}
    pictures = pictures_of(tables, [(table, by_path[table.path]) for table in transferred])
    return _Board(found, tables, transferred, by_path, sources, grids, pictures)


def _grids(table: Table, tables: Sequence[Table], sources: list[Reported]) -> list[Grid]:
    plain = None
    if table.sample.protocol.name == _AUGMENTED:
        same = (table.key.dataset, table.key.budget)
        others = [other for other in tables if (other.key.dataset, other.key.budget) == same]
        plain = next((other for other in others if other.sample.protocol.name == _PLAIN), None)
    against = grid.robustness(table, plain)
    return [grid.accuracy(table, sources), grid.cost(table), *([against] if against is not None else [])]


def _texts(made: _Board, home: Path) -> dict[str, str]:
    """Every text file of the leaderboard by its path below it; the page takes its pictures from the disk."""
    contents, embedded = {}, {}
    for key, section in made.sections.items():
        shown = [picture for picture in made.pictures if picture.belongs_to(key)]
        links = [(picture.alt, picture.link_from(key)) for picture in shown]
        contents[f"{key}.md"] = markdown.page(section, made.grids[key], links)
        contents[f"{key}.tex"] = latex.page(section, made.grids[key])
        for picture in shown:
            if (svg := picture.embedded(home, key)) is not None:
                embedded[key] = svg
    contents |= {f"{table.key.path}.csv": spreadsheet.page(table, made.sources) for table in made.tables}
    contents |= {f"{table.path}.csv": transfers.csv_text(table) for table in made.transfers}
    if made.sections:
        contents["README.md"] = markdown.index(made.tables, made.transfers, made.sources)
        contents["index.html"] = page.html([*made.sections.values()], made.grids, embedded, made.sources)
        if made.sources:
            contents["reported.md"] = markdown.printed(made.sources)
    return contents


def _cards(made: _Board, folder: Path) -> dict[Path, str]:
    return {folder / name: content for name, content in card_texts.texts(made.records).items()}


def _home(results: str | Path) -> Path:
    return Path(results) / "leaderboard"


def _write(path: Path, content: str) -> None:
    if not path.is_file() or path.read_bytes() != content.encode():
        files.write_text(path, content)


def _strangers(home: Path, expected: Sequence[Path]) -> list[Path]:
    """Files below the leaderboard that it does not consist of any more."""
    return sorted(path for path in home.rglob("[!.]*") if path.is_file() and path not in set(expected))


def _old_cards(folder: Path, expected: Container[Path]) -> list[Path]:
    """Generated cards of sets that have no record any more."""
    found = (path for path in folder.rglob("[!.]*.md") if path not in expected)
    return sorted(path for path in found if markdown.GENERATED.encode() in path.read_bytes()[:4096])
