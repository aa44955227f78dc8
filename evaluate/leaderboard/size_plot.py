"""Mean accuracy against the bytes of the set: one line per method over the budgets of a protocol and data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from condense.evaluate.leaderboard import look, words
from condense.evaluate.leaderboard.board import Table
from condense.evaluate.leaderboard.label_places import CHARACTER, LINE, label_places
from condense.quantities import size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform


def data_of(tables: Sequence[Table]) -> dict[str, Any] | None:
    """What the plot over bytes shows: one line per method over the budgets of one protocol and data set."""
    lines: dict[str, dict[str, Any]] = {}
    for table in tables:
        for row in table.rows:
            found = table.mean(row, table.panel)
            if found is not None:
                line = lines.setdefault(row.name, {"name": row.name, "real": row.kind == "selection", "points": []})
                line["points"].append([row.size("total"), found.mean, found.half or 0.0])
    if not lines:
        return None
    first = tables[0]
    panels = {table.panel for table in tables}
    full = next((mean.mean for row in first.references if (mean := row.mean(first.panel)) is not None), None)
    return {
        "title": f"{first.key.dataset}, protocol {first.key.protocol}", "tier": words.tier(first),
        "networks": list(first.panel) if len(panels) == 1 else [], "full": full if len(panels) == 1 else None,
        "lines": [dict(line, points=sorted(line["points"])) for line in lines.values()],
    }  # fmt: skip


def draw(data: dict[str, Any]) -> dict[str, bytes]:
    """Mean accuracy against the bytes of the set, log scale, labels at the lines; returns bytes by suffix."""
    lines = data["lines"]
    head = look.head_height(data)
    height = head + max(3.6, 1.0 + 0.2 * len(lines))
    with look.canvas(8.0, height) as figure:
        axes = figure.add_axes((0.085, 0.62 / height, 0.895, 1 - (head + 0.73) / height))
        colours = _colours(lines)
        shifts = _aside(lines)
        for number, line in enumerate(lines):
            sizes, means, halves = zip(*line["points"], strict=True)
            axes.errorbar(
                sizes, [100 * mean for mean in means], yerr=[100 * half for half in halves], color=colours[number],
                marker=look.MARKERS[number % len(look.MARKERS)], markersize=5.5, linewidth=1.4, capsize=2.5,
                elinewidth=1.0, markeredgecolor="white", markeredgewidth=0.6, zorder=3,
                linestyle="--" if line["real"] else "-", transform=_shifted(axes, shifts[number]),
            )  # fmt: skip
        _frame(axes, data)
        _name_lines(axes, lines, colours, shifts)
        look.headline(figure, "Accuracy against the bytes of the set", data)
        return look.encode(figure)


def _aside(lines: Sequence[dict[str, Any]]) -> list[float]:
    """How far each line is drawn aside, in 1/72 inch: overlapping intervals at one size stand side by side."""
    shifts = [0.0] * len(lines)
    order = sorted(range(len(lines)), key=lambda index: (lines[index]["points"][-1][0], -lines[index]["points"][-1][1]))
    chains: list[list[int]] = []
    for index in order:
        x, mean, half = lines[index]["points"][-1]
        if chains:
            other_x, other_mean, other_half = lines[chains[-1][-1]]["points"][-1]
            if x <= 1.02 * other_x and mean + half > other_mean - other_half:
                chains[-1].append(index)
                continue
        chains.append([index])
    for chain in chains:
        for position, index in enumerate(chain):
            shifts[index] = 6.0 * (position - (len(chain) - 1) / 2)
    return shifts


def _shifted(axes: Axes, aside: float) -> Transform:
    from matplotlib.transforms import ScaledTranslation

    assert axes.figure is not None
    return axes.transData + ScaledTranslation(aside / 72, 0, axes.figure.dpi_scale_trans)


def _frame(axes: Axes, data: dict[str, Any]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlabel("bytes of the set (images, labels, extras, preprocessing)")
    several = len(data["networks"]) > 1
    # In one line the longer name would not fit beside a low picture.
    measured = f"mean test accuracy over {len(data['networks'])} networks (%),\n" if several else "test accuracy (%), "
    axes.set_ylabel(f"{measured}95 % interval over sets or runs")
    sizes = [point[0] for line in data["lines"] for point in line["points"]]
    # The names of the rightmost lines stand inside the frame: leave them their share of its width.
    share = (0.2 + CHARACTER * max(len(line["name"]) for line in data["lines"])) / 7.16
    low, high = max(1, min(sizes)) / 1.3, max(sizes) * 1.3
    axes.set_xlim(low, low * (high / low) ** (1 / (1 - share)))
    ends = [
        100 * (mean + side * half) for line in data["lines"] for _, mean, half in line["points"] for side in (-1, 1)
    ]
    ends += [100 * data["full"]] if data["full"] is not None else []
    margin = 0.06 * (max(ends) - min(ends)) or 1.0
    axes.set_ylim(min(ends) - margin, max(ends) + margin)
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if max(sizes) > 30 * min(sizes) else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, color=look.GRID, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if data["full"] is not None:
        full = 100 * data["full"]
        axes.axhline(full, color=look.FAINT, linewidth=1.0, linestyle=(0, (2, 2)), zorder=2)
        axes.annotate("full data", (0, full), (4, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                      color=look.FAINT, fontsize=8.5)  # fmt: skip


def _name_lines(axes: Axes, lines: Sequence[dict[str, Any]], colours: Sequence[str], shifts: Sequence[float]) -> None:
    """Names beside the last point of each line, moved up or down where they would cover a name or a point."""
    from matplotlib.patheffects import withStroke

    marks = []
    for line, aside in zip(lines, shifts, strict=True):
        found = [_inches(axes, x, 100 * mean) for x, mean, _ in line["points"]]
        marks.append([(x + aside / 72, y) for x, y in found])
    bottom, top = (_inches(axes, axes.get_xlim()[0], y)[1] for y in axes.get_ylim())
    places = label_places(marks, [line["name"] for line in lines], bottom + LINE / 2, top - LINE / 2)
    for line, mark, (left, middle), colour, aside in zip(lines, marks, places, colours, shifts, strict=True):
        shift = ((left - mark[-1][0]) * 72, (middle - mark[-1][1]) * 72)
        leader = {
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.6,
            "alpha": 0.6,
            "shrinkA": 0,
            "shrinkB": 4,
            "relpos": (0, 0.5),
        }
        end, mean, _ = line["points"][-1]
        axes.annotate(
            line["name"],
            (end, 100 * mean),
            shift,
            xycoords=_shifted(axes, aside),
            textcoords="offset points",
            va="center_baseline",
            color=colour,
            fontsize=8.5,
            zorder=5,
            arrowprops=leader if math.hypot(shift[0] - 7.2, shift[1]) > 5 else None,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _inches(axes: Axes, x: float, y: float) -> tuple[float, float]:
    figure = axes.figure
    assert figure is not None
    across, up = axes.transData.transform((x, y)) / figure.dpi
    return (float(across), float(up))


def _colours(lines: Sequence[dict[str, Any]]) -> list[str]:
    found, used = [], 0
    for line in lines:
        found.append(look.REAL if line["real"] else look.COLOURS[used % len(look.COLOURS)])
        used += not line["real"]
    return found
