"""What stands above the grids of a table, whatever the table is of."""

from __future__ import annotations

from dataclasses import dataclass

from condense.errors import UnknownName
from condense.evaluate import protocol
from condense.evaluate.leaderboard import words
from condense.evaluate.leaderboard.board import Table


@dataclass(frozen=True)
class Section:
    """One part of the page and of the terminal's text; one Markdown, one LaTeX and one CSV file."""

    path: str  # below the leaderboard folder, without suffix
    heading: str
    about: str  # which measure it was made with
    warning: str  # what its numbers may not be compared with; empty where there is nothing to say
    claims: tuple[str, ...]  # what may be said of its rows


def of_table(table: Table) -> Section:
    """The section of an ordinary table."""
    claims = tuple(words.against_random(table))
    warning = " ".join(filter(None, (words.tier(table), _off_panel(table))))
    return Section(table.key.path, words.heading(table), words.about(table), warning, claims)


def _off_panel(table: Table) -> str:
    """A sentence about judged networks that the protocol does not name; empty where it names all, or is not shipped."""
    try:
        panel = {entry.network for entry in protocol.load(table.key.protocol).panel}
    except UnknownName:
        return ""
    others = [name for name in table.networks if name not in panel]
    if not others:
        return ""
    whose = "Networks that are not" if len(others) > 1 else "A network that is not"
    return f"{whose} of the protocol's panel: {'; '.join(others)}. Numbers printed for that panel do not compare."
