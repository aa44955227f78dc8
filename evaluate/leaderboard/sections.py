"""What stands above the grids of a table, whatever the table is of."""

from __future__ import annotations

from dataclasses import dataclass

from condense.evaluate.leaderboard import words
from condense.evaluate.leaderboard.board import Table


@dataclass(frozen=True)
class Section:
    """One part of the page and of the terminal's text; one Markdown, one LaTeX and one CSV file."""

    path: str  # below the leaderboard folder, without suffix
    heading: str
    about: str  # which measure it was made with
    warning: str  # what its numbers may be compared with; empty for the full tier
    claims: tuple[str, ...]  # what may be said of its rows


def of_table(table: Table) -> Section:
    """The section of an ordinary table."""
    claims = tuple(words.against_random(table))
    return Section(table.key.path, words.heading(table), words.about(table), words.tier(table), claims)
