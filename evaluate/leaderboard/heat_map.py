"""The cross-architecture heat map: methods by networks, one shade for one accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from condense.evaluate.leaderboard import look, words
from condense.evaluate.leaderboard.board import Table
from condense.evaluate.leaderboard.grid import points
from condense.evaluate.leaderboard.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP = 0.14  # of a cell, between the networks and the mean, the rows and the reference


def data_of(table: Table) -> dict[str, Any] | None:
    """What the heat map shows: rows in the table's order, networks as columns; None when there is no number."""
    rows: list[dict[str, Any]] = []
    for row in (*table.rows, *table.references):
        cells = [_cell(row, name) for name in table.networks]
        mean = row.mean(table.panel)
        rows.append({"name": row.name, "full": row.kind == "full", "cells": cells, "mean": mean and mean.mean})
    if not any(isinstance(cell, float) for row in rows for cell in row["cells"]):
        return None
    return {"title": words.heading(table), "tier": words.tier(table), "networks": list(table.networks), "rows": rows}


def draw(data: dict[str, Any]) -> dict[str, bytes]:
    """Methods by networks, one shade for one accuracy; returns the picture's bytes by suffix."""
    columns = [*data["networks"], "mean"]
    names = max(len(row["name"]) for row in data["rows"])
    lines = max(_stacked(name).count("\n") for name in columns)
    left, right, top, bottom = 0.25 + 0.085 * names, 0.2, look.head_height(data) + 0.33 + 0.14 * lines, 0.2
    width, height = 0.86 * (len(columns) + _GAP), 0.34 * (len(data["rows"]) + _GAP)
    total = (max(left + width + right, 5.2, 0.3 + 0.065 * len(data["tier"])), top + height + bottom)
    with look.canvas(*total) as figure:
        axes = figure.add_axes((left / total[0], bottom / total[1], width / total[0], height / total[1]))
        _draw_cells(axes, data)
        look.headline(figure, "Accuracy by architecture", data)
        return look.encode(figure)


def _cell(row: Row, network: str) -> float | str:
    score = row.scores.get(network)
    if score is None:
        return "–"
    return score.summary.mean if score.summary is not None else score.status


def _draw_cells(axes: Axes, data: dict[str, Any]) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    low, high = _shades(data)
    ramp = colormaps["viridis"]
    columns, rows = [*data["networks"], "mean"], data["rows"]
    lefts = [x + (_GAP if x == len(columns) - 1 else 0.0) for x in range(len(columns))]
    tops = [y + (_GAP if row["full"] else 0.0) for y, row in enumerate(rows)]
    for top, row in zip(tops, rows, strict=True):
        for left, value in zip(lefts, [*row["cells"], row["mean"] or "–"], strict=True):
            colour: Any = look.EMPTY
            ink, text = look.FAINT, value
            if isinstance(value, float):
                text, ink = points(value), look.INK
                if not row["full"]:  # the reference lies far above: shading it would flatten every difference
                    share = (value - low) / (high - low) if high > low else 0.5
                    colour, ink = ramp(0.12 + 0.83 * share), "white" if share < 0.55 else look.INK
            axes.add_patch(Rectangle((left, top), 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
            axes.text(left + 0.5, top + 0.5, text, ha="center", va="center_baseline", color=ink)
    axes.set_xlim(0, lefts[-1] + 1)
    axes.set_ylim(tops[-1] + 1, 0)
    axes.xaxis.tick_top()
    axes.set_xticks([left + 0.5 for left in lefts], [_stacked(name) for name in columns], fontsize=8.5, color=look.INK)
    axes.set_yticks([top + 0.5 for top in tops], [row["name"] for row in rows], color=look.INK)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _stacked(network: str) -> str:
    """A network's name with its knobs one below the other, to fit over a column."""
    return network.replace(":", "\n").replace(",", "\n")


def _shades(data: dict[str, Any]) -> tuple[float, float]:
    """Lowest and highest accuracy that is shaded."""
    values = [cell for row in data["rows"] if not row["full"] for cell in row["cells"] if isinstance(cell, float)]
    return (min(values), max(values)) if values else (0.0, 1.0)
