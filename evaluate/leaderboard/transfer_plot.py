"""The transfer plot: accuracy of every start, one panel for each use of it and share of the target's labels."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from condense.evaluate.leaderboard import look
from condense.evaluate.statistics import by_set
from condense.evaluate.transfer.tables import BASELINES, Column, Row, TransferTable, parts_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL, _LINE = 2.45, 0.27  # width of a panel and height of a start in it, inches
_BETWEEN, _BELOW, _TITLE = 0.2, 0.32, 0.3  # panels; the ticks and the title of one
_OFF = 0.13  # of a line, between the mean and the marks of its sets


def data_of(table: TransferTable, title: str, tier: str) -> dict[str, Any] | None:
    """What the plot shows: panels by use and share, starts in the table's order; None when there is no number."""
    starts = {column: [_start(table, row, column) for row in table.rows] for column in table.columns}
    if not any(filter(None, itertools.chain.from_iterable(starts.values()))):
        return None
    panels = []
    for column, found in starts.items():
        network, use, share = parts_of(column)
        use = f"{network}, {use}" if table.several_networks else use
        panels.append({"use": use, "share": share, "starts": found})
    names = [{"name": row.name, "colour": _colour(table, row)} for row in table.rows]
    baseline = next((place for place, row in enumerate(table.rows) if row.method == BASELINES[0]), None)
    return {
        "title": title, "tier": tier, "names": names, "panels": panels, "baseline": baseline,
        "uses": list(dict.fromkeys(panel["use"] for panel in panels)),
        "shares": sorted({panel["share"] for panel in panels}),
    }  # fmt: skip


def draw(data: dict[str, Any]) -> dict[str, bytes]:
    """A row of panels for each use, a column for each share; returns the picture's bytes by suffix."""
    left = 0.35 + 0.075 * max(len(start["name"]) for start in data["names"])
    top, height = look.head_height(data) + 0.1, _LINE * len(data["names"])
    width = left + len(data["shares"]) * (_PANEL + _BETWEEN)
    total = (max(width, 0.3 + 0.065 * len(data["tier"])), top + len(data["uses"]) * (_TITLE + height + _BELOW) + 0.3)
    with look.canvas(*total) as figure:
        for panel in data["panels"]:
            down, across = data["uses"].index(panel["use"]), data["shares"].index(panel["share"])
            x = left + across * (_PANEL + _BETWEEN)
            y = total[1] - top - (down + 1) * (_TITLE + height) - down * _BELOW
            axes = figure.add_axes((x / total[0], y / total[1], _PANEL / total[0], height / total[1]))
            _draw_panel(axes, panel, data, names=across == 0)
        look.headline(figure, "Accuracy after transfer", data)
        note = "Test accuracy in percent: the mean with its 95 % interval, and the mean of each set below it."
        if data["baseline"] is not None:
            note += f" Dashed: {data['names'][data['baseline']]['name']}."
        figure.text(0.14 / total[0], 0.16 / total[1], note, fontsize=8, color=look.FAINT, va="center")
        return look.encode(figure)


def _start(table: TransferTable, row: Row, column: Column) -> dict[str, Any] | None:
    """Mean, half of the interval, and the mean of each set where there are several; None without a number."""
    found = table.mean(row, column)
    if found is None:
        return None
    sets = list(by_set(row.runs(column)).values())
    return {"mean": found.mean, "half": found.half or 0.0, "sets": sets if len(sets) > 1 else []}


def _colour(table: TransferTable, row: Row) -> str:
    """References are faint, real images grey, and methods coloured."""
    if row.is_reference:
        return look.FAINT
    if row.method in BASELINES:
        return look.REAL
    methods = [other.name for other in table.rows if not other.is_reference and other.method not in BASELINES]
    return look.COLOURS[methods.index(row.name) % len(look.COLOURS)]


def _draw_panel(axes: Axes, panel: dict[str, Any], data: dict[str, Any], *, names: bool) -> None:
    places = range(len(data["names"]))
    starts = panel["starts"]
    if data["baseline"] is not None and (baseline := starts[data["baseline"]]) is not None:
        axes.axvline(100 * baseline["mean"], color=look.REAL, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    for place, named, start in zip(places, data["names"], starts, strict=True):
        if start is None:
            axes.annotate("–", (0.5, place), xycoords=("axes fraction", "data"), color=look.FAINT, va="center")
            continue
        mean, half, colour = 100 * start["mean"], 100 * start["half"], named["colour"]
        axes.plot([mean - half, mean + half], [place, place], color=colour, linewidth=1.4, zorder=2)
        axes.plot([mean], [place], "o", color=colour, markersize=5, zorder=3)
        sets = [100 * value for value in start["sets"]]
        axes.plot(sets, [place + 2 * _OFF] * len(sets), "|", color=colour, markersize=4, markeredgewidth=1.0, zorder=3)
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.set_yticks(places, [start["name"] for start in data["names"]] if names else [""] * len(places), color=look.INK)
    axes.set_title(f"{panel['use']}, {100 * panel['share']:g} % of the labels", loc="left", fontsize=9, color=look.INK)
    axes.grid(color=look.GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8.5)
    axes.locator_params(axis="x", nbins=6)
    axes.margins(x=0.06)
    for spine in axes.spines.values():
        spine.set_visible(False)
