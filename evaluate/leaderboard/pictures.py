"""The pictures of a leaderboard on disk, each with a small file that says what it was drawn from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condense import files
from condense.errors import DamagedFile
from condense.evaluate.leaderboard import heat_map, look, size_plot, transfer_plot, words
from condense.evaluate.leaderboard.board import Table
from condense.evaluate.leaderboard.sections import Section
from condense.evaluate.transfer.tables import TransferTable


@dataclass(frozen=True)
class Picture:
    """A picture: where it lies below the leaderboard (without suffix), what it shows, and how it is drawn."""

    stem: str
    alt: str
    data: dict[str, Any]
    draw: Callable[[dict[str, Any]], dict[str, bytes]]
    tables: tuple[str, ...]  # paths of the tables that show it; the last one embeds it in the page, or none
    on_page: bool

    def belongs_to(self, table_path: str) -> bool:
        return table_path in self.tables

    def link_from(self, table_path: str) -> str:
        """The path of the PNG as written in a table's Markdown, which lies in the same folder."""
        assert table_path.rpartition("/")[0] == self.stem.rpartition("/")[0]
        return f"{self.stem.rpartition('/')[2]}.png"

    def embedded(self, home: Path, table_path: str) -> bytes | None:
        """The SVG for the page, below the last table that shows it; None elsewhere and where it is not drawn yet."""
        path = home / f"{self.stem}.svg"
        wanted = self.on_page and table_path == self.tables[-1]
        return path.read_bytes() if wanted and path.is_file() else None

    def paths(self, home: Path) -> list[Path]:
        """The picture's files, and last the one that says what it was drawn from."""
        return [home / f"{self.stem}.{suffix}" for suffix in (*look.SUFFIXES, "json")]

    def write(self, home: Path) -> list[Path]:
        """Draws the picture unless the files on disk are those of the same numbers; returns its paths."""
        paths = self.paths(home)
        if self.problems(home):
            hashes = {"drawn_from": look.hash_of(self.data)}
            for suffix, content in self.draw(self.data).items():
                path = home / f"{self.stem}.{suffix}"
                files.write_bytes(path, content)
                hashes[suffix] = files.sha256(path)
            files.write_json(paths[-1], hashes)
        return paths

    def problems(self, home: Path) -> list[str]:
        """What is wrong with the files on disk, at most one line."""
        *pictures, note = self.paths(home)
        if missing := [path for path in (*pictures, note) if not path.is_file()]:
            return [f"{missing[0]} is missing"]
        try:
            hashes = files.read_json(note)
        except DamagedFile as error:
            return [str(error)]
        if not isinstance(hashes, dict) or hashes.get("drawn_from") != look.hash_of(self.data):
            return [f"{pictures[0]} was drawn from other numbers than the records give"]
        changed = [path for path in pictures if files.sha256(path) != hashes.get(path.suffix[1:])]
        return [f"{changed[0]} is not the picture that was drawn"] if changed else []


def pictures_of(tables: Sequence[Table], transferred: Sequence[tuple[TransferTable, Section]]) -> list[Picture]:
    """Heat maps of tables, plots over bytes of a protocol and data set, plots of transfer tables; none is empty."""
    found = []
    together: dict[str, list[Table]] = defaultdict(list)
    for table in tables:
        path = table.key.path
        together[path.rpartition("/")[0]].append(table)
        if (data := heat_map.data_of(table)) is not None:
            alt = f"Accuracy by architecture, {words.heading(table)}"
            found.append(Picture(f"{path}-networks", alt, data, heat_map.draw, (path,), on_page=False))
    for folder, group in together.items():
        if (data := size_plot.data_of(group)) is not None:
            alt = f"Accuracy against bytes, {data['title']}"
            shown = tuple(table.key.path for table in group)
            found.append(Picture(f"{folder}/bytes", alt, data, size_plot.draw, shown, on_page=True))
    for each, section in transferred:
        if (data := transfer_plot.data_of(each, section.heading, section.warning)) is not None:
            alt = f"Accuracy after transfer, {section.heading}"
            found.append(Picture(f"{each.path}-starts", alt, data, transfer_plot.draw, (each.path,), on_page=True))
    return found
