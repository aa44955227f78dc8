"""The leaderboard for a terminal, as plain text of a given width."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from condense.evaluate.leaderboard import sections
from condense.evaluate.leaderboard.board import Table
from condense.evaluate.leaderboard.grid import INTERVAL, RANKS, RULE, Grid
from condense.evaluate.leaderboard.sections import Section

_HIDDEN = {"reported", "source of reported", "setting", "mean of each set"}  # too wide; they stand in the files
_SETTING = 34  # letters of a line of the setting, which is continued below
_TITLE, _NAME = 12, 16  # letters of a line of a title and of a name, which are continued below
_SPENT = ("bytes", "distil")  # of the cost, at the end of a line
_LEGEND = f"Accuracy in percent: mean ± half of the 95 % interval (number of runs). {INTERVAL} {RANKS} {RULE}"


def text(table: Table, accuracy: Grid, cost: Grid, width: int) -> str:
    """One table: what may be said of it, accuracy with size and time, and the notes.

    Networks that do not fit the width are left out and named.
    """
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    shown, left_out = _fitting(table, accuracy, cost, width)
    places = [place for place, column in enumerate(accuracy.columns) if column.title in shown]
    used = sorted({note for row in accuracy.rows for place in places for note in row[place].notes})
    renumbered = {note: number for number, note in enumerate(used, 1)}
    drawn = RichTable(box=None, padding=(0, 1), show_edge=False)
    for place in places:
        column = accuracy.columns[place]
        wide = column.title == "setting"
        drawn.add_column(
            column.title, justify="right" if column.numeric else "left", overflow="fold",
            no_wrap=not wide, max_width=_SETTING if wide else None,
        )  # fmt: skip
    spent_places = [[column.title for column in cost.columns].index(title) for title in _SPENT]
    for title in _SPENT:
        drawn.add_column(title, justify="right", no_wrap=True)
    for row, spent in zip(accuracy.rows, cost.rows, strict=True):
        cells = [replace(row[place], notes=tuple(renumbered[note] for note in row[place].notes)) for place in places]
        drawn.add_row(*(Text(cell.marked) for cell in [*cells, *(spent[place] for place in spent_places)]))
    target = io.StringIO()
    console = Console(file=target, width=width, color_system=None, force_terminal=False, highlight=False, markup=False)
    section = sections.of_table(table)
    remarks = [sentence for sentence in (section.warning, *section.claims) if sentence]
    for part in (section.heading, *remarks, "", drawn, ""):
        console.print(part)
    if left_out:
        console.print(f"Not shown at this width: {', '.join(left_out)}.")
    if len(table.networks) > 1:
        console.print(
            f"Mean and rank over: {', '.join(table.panel) or 'no network, since none was judged for all rows'}."
        )
    for note in used:
        console.print(f"[{renumbered[note]}] {accuracy.notes[note - 1]}")
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines())


def plain(section: Section, grids: Sequence[Grid], width: int) -> str:
    """A section with all of its grids; columns that do not fit beside the others stand below them, notes at the end."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    target = io.StringIO()
    console = Console(file=target, width=width, color_system=None, force_terminal=False, highlight=False, markup=False)
    for sentence in filter(None, (section.heading, section.warning, *section.claims)):
        console.print(sentence)
    for part in grids:
        console.print(f"\n{part.title}")
        for columns in _side_by_side(_broken(part), width):
            drawn = RichTable(box=None, padding=(0, 1), show_edge=False)
            for place, (title, *_) in columns.items():
                drawn.add_column(title, justify="right" if part.columns[place].numeric else "left", no_wrap=True)
            for cells in zip(*(below for _, *below in columns.values()), strict=True):
                drawn.add_row(*map(Text, cells))
            console.print(drawn)
        for number, note in enumerate(part.notes, 1):
            console.print(f"[{number}] {note}")
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines())


def _broken(grid: Grid) -> list[list[str]]:
    """Title and cells of each column, in lines: names are continued below, and so are titles and the means of sets."""
    columns = []
    for place, column in enumerate(grid.columns):
        cells = [row[place].marked for row in grid.rows]
        title = textwrap.fill(column.title.replace(" %", "\N{NO-BREAK SPACE}%"), _TITLE)
        if column.numeric:
            columns.append([title, *(cell.replace(": ", ":\n") for cell in cells)])
        else:
            columns.append([title, *(textwrap.fill(cell, _NAME, break_on_hyphens=False) for cell in cells)])
    return columns


def _side_by_side(columns: Sequence[Sequence[str]], width: int) -> Iterator[dict[int, Sequence[str]]]:
    """Blocks of columns by place, as few and as equal as fit; the first column names the rows of each."""
    first, *others = columns
    fit = max(1, (width - _room([first])) // max(_room([other]) for other in others))
    each = math.ceil(len(others) / math.ceil(len(others) / fit))
    for start in range(0, len(others), each):
        block = others[start : start + each]
        yield {0: first} | dict(enumerate(block, start + 1))


def _room(columns: Iterable[Sequence[str]]) -> int:
    return sum(2 + max(len(line) for text in column for line in text.split("\n")) for column in columns)


def _fitting(table: Table, accuracy: Grid, cost: Grid, width: int) -> tuple[set[str], list[str]]:
    """Titles of the columns that fit, and the networks that do not; the mean goes before the networks."""
    titles = [column.title for column in accuracy.columns]
    apart = any(row.name != row.title for row in table.rows)  # only the setting tells some rows apart
    hidden = _HIDDEN - {"setting"} if apart else _HIDDEN
    shown = {title for title in titles if title not in hidden and title not in table.networks}
    if len(table.networks) == 1:
        shown.discard("mean")
    room = width - sum(_width(accuracy, title) for title in shown) - sum(_width(cost, t) for t in _SPENT)
    left_out = []
    for name in table.networks:
        room -= _width(accuracy, name)
        if room < 0:
            left_out.append(name)
        else:
            shown.add(name)
    return shown, left_out


def _width(grid: Grid, title: str) -> int:
    place = [column.title for column in grid.columns].index(title)
    widest = max(len(title), *(len(row[place].marked) for row in grid.rows))
    return 2 + (min(widest, _SETTING) if title == "setting" else widest)


def joined(parts: Iterable[str], width: int) -> str:
    """Several tables as one text, with the legend that they share."""
    return "\n\n\n".join([*parts, textwrap.fill(_LEGEND, width)]) + "\n"
