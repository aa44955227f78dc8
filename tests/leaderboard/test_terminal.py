"""Tables of many columns on terminals of several widths."""

from __future__ import annotations

import pytest

from condense.evaluate.leaderboard import terminal
from condense.evaluate.leaderboard.grid import Cell, Column, Grid
from condense.evaluate.leaderboard.sections import Section

SECTION = Section("transfer", "one half to the other", "", "", ())
USES = ["probe, 1 %", "probe, 100 %", "untouched-probe, 1 %", "untouched-probe, 100 %"]
NAMES = ["From scratch", "Full set, self-supervised", "Random + teacher features"]


def table() -> Grid:
    rows = [[f"+{row}{use}.5 ± 1.0 (6): +{row}.{use} / -{row}.{use}" for use in range(len(USES))] for row in range(3)]
    cells = tuple((Cell(name), *map(Cell, row)) for name, row in zip(NAMES, rows, strict=True))
    return Grid("Accuracy", "", (Column("start", numeric=False), *map(Column, USES)), cells)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_nothing_of_a_wide_table_is_lost_at_any_width(width: int) -> None:
    shown = terminal.plain(SECTION, [table()], width)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    for row in table().rows:
        for cell in row[1:]:
            mean, each = cell.text.split(": ")
            assert mean in shown
            assert each in shown
    assert all(word in shown for name in NAMES for word in name.split())


def test_columns_stand_below_each_other_in_equal_blocks_that_all_name_their_rows() -> None:
    narrow, wide = (terminal.plain(SECTION, [table()], width) for width in (72, 120))
    for shown, counts in ((narrow, [2, 2]), (wide, [4])):
        named = [line for line in shown.splitlines() if line.startswith(" From scratch")]
        assert [line.count("±") for line in named] == counts
