"""Tables on stdout: ruled for a person at a terminal, tab-separated without a heading for a program behind a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


def show(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints one row a line; an empty cell for None."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for text in texts:
            print("\t".join(text))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=SIMPLE_HEAD)
    for text in texts:
        # Names may hold square brackets, which rich would take for markup.
        table.add_row(*(cell.replace("[", "\\[") for cell in text))
    Console().print(table)
