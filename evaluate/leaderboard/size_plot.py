"""Mean accuracy against the bytes of the set: one line per method over the budgets of a protocol and data set."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from condense.evaluate.leaderboard import look, words
from condense.evaluate.leaderboard.board import Table
from condense.quantities import size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

_WIDTH, _LEFT, _BOTTOM = 9.2, 0.7, 0.8  # of the picture and of what stands around its axes, inches
_LETTERS, _LETTER = 34, 0.068  # of a line of a name beside the axes, and the width of one of them
_LINE, _BETWEEN = 0.135, 0.06  # height of such a line, and the space between two names
_MARK, _ASIDE = 6.0, 2.4  # width of a mark, and how far its interval may stand from its middle, 1/72 inch
_ORDER = "by accuracy of the largest set"
_TICK = 0.62  # inches that the text of a tick needs
# Where ticks may stand in a decade, from the finest; then whole decades, every second one and so on.
_LADDER = (tuple(n / 10 for n in range(10, 100)), (1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


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
        "lines": sorted((dict(line, points=sorted(line["points"])) for line in lines.values()), key=_by_accuracy),
    }  # fmt: skip


def _by_accuracy(line: dict[str, Any]) -> tuple[float, str]:
    """Lines are named from the most accurate down, by their largest set."""
    return (-line["points"][-1][1], line["name"])


def draw(data: dict[str, Any]) -> dict[str, bytes]:
    """Mean accuracy against the bytes of the set, log scale, names beside the axes; returns bytes by suffix."""
    names = [_wrapped(line["name"]) for line in data["lines"]]
    column = 0.35 + sum(_BETWEEN + _LINE * (1 + name.count("\n")) for name in names)
    with look.canvas(_WIDTH, look.head_height(data) + max(3.0, column) + _BOTTOM + 0.1) as figure:
        paint(figure, data)
        look.headline(figure, "Accuracy against the bytes of the set", data)
        return look.encode(figure)


def paint(figure: Figure, data: dict[str, Any]) -> Axes:
    """Draws the lines and their names into an empty figure."""
    from matplotlib.lines import Line2D

    lines, names = data["lines"], [_wrapped(line["name"]) for line in data["lines"]]
    width, height = map(float, figure.get_size_inches())
    longest = max(len(part) for name in names for part in name.splitlines())
    beside = max(0.55 + _LETTER * longest, 0.2 + _LETTER * len(_ORDER))
    across, up = width - _LEFT - beside, height - look.head_height(data) - _BOTTOM - 0.1
    axes = figure.add_axes((_LEFT / width, _BOTTOM / height, across / width, up / height))
    _frame(axes, data, across)
    handles = []
    for line, style, asides in zip(lines, _styles(lines), _asides(lines), strict=True):
        sizes, means, _ = zip(*line["points"], strict=True)
        axes.plot(sizes, [100 * mean for mean in means], zorder=3, **style)
        for (size_, mean, half), aside in zip(line["points"], asides, strict=True):
            ends = [100 * (mean - half), 100 * (mean + half)]
            axes.plot([size_, size_], ends, color=style["color"], linewidth=1.0, marker="_", markersize=3.5, zorder=3,
                      transform=_shifted(axes, aside))  # fmt: skip
        handles.append(Line2D([], [], **style))
    axes.legend(
        handles, names, loc="upper left", bbox_to_anchor=(1 + 0.1 / across, 1.0), borderaxespad=0, borderpad=0,
        frameon=False, fontsize=8, labelspacing=0.5, handlelength=2.2, handletextpad=0.6, alignment="left",
        title=_ORDER, title_fontproperties={"size": 8}, labelcolor=look.INK,
    )  # fmt: skip
    return axes


def ticks(low: float, high: float, inches: float) -> list[float]:
    """Round sizes in [low, high], as many as can be labelled along so many inches of a log axis; at least one."""
    strides = [1] * len(_LADDER) + list(range(2, 13))
    steps = [*_LADDER, *[_LADDER[-1]] * (len(strides) - len(_LADDER))]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for stride, parts in zip(strides, steps, strict=True):
        found = [part * 10.0**decade for decade in decades if decade % stride == 0 for part in parts]
        found = [value for value in found if low <= value <= high]
        gaps = [math.log(after / before) for before, after in pairwise(found)]
        if found and min(gaps, default=math.inf) * inches >= _TICK * math.log(high / low):
            return found
    return [low]


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(name, _LETTERS, subsequent_indent="  ", break_on_hyphens=False))


def _styles(lines: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """How each line is drawn; one can see through its marks, since sets of equal size lie upon each other."""
    from matplotlib.colors import to_rgba

    counts = {True: 0, False: 0}
    for line in lines:
        number = counts[line["real"]]
        counts[line["real"]] += 1
        colour = look.REAL if line["real"] else look.COLOURS[number % len(look.COLOURS)]
        yield {
            "color": colour, "marker": look.MARKERS[number % len(look.MARKERS)], "markersize": _MARK,
            "markerfacecolor": to_rgba(colour, 0.45), "markeredgecolor": colour, "markeredgewidth": 1.0,
            "linewidth": 1.4, "linestyle": "--" if line["real"] else "-",
        }  # fmt: skip


def _asides(lines: Sequence[dict[str, Any]]) -> list[list[float]]:
    """How far the interval of each point stands aside, 1/72 inch: those of equal sizes share the width of a mark."""
    places = [(point[0], i, j) for i, line in enumerate(lines) for j, point in enumerate(line["points"])]
    together: list[list[tuple[float, int, int]]] = []
    for place in sorted(places):
        if together and place[0] <= 1.01 * together[-1][0][0]:
            together[-1].append(place)
        else:
            together.append([place])
    asides = [[0.0] * len(line["points"]) for line in lines]
    for group in together:
        for position, (_, i, j) in enumerate(group):
            asides[i][j] = _ASIDE * (2 * position / (len(group) - 1) - 1) if len(group) > 1 else 0.0
    return asides


def _shifted(axes: Axes, aside: float) -> Transform:
    from matplotlib.transforms import ScaledTranslation

    assert axes.figure is not None
    return axes.transData + ScaledTranslation(aside / 72, 0, axes.figure.dpi_scale_trans)


def _frame(axes: Axes, data: dict[str, Any], across: float) -> None:
    """Scales and what stands around the lines; limits are those of the data alone."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_xlabel(
        "bytes of the set (images, labels, extras, preprocessing);\n"
        "marks stand at their size, intervals of equal sizes side by side within a mark's width",
        fontsize=8.5,
    )
    several = len(data["networks"]) > 1
    # In one line the longer name would not fit beside a low picture.
    measured = f"mean test accuracy over {len(data['networks'])} networks (%),\n" if several else "test accuracy (%), "
    axes.set_ylabel(f"{measured}95 % interval over sets or runs")
    points = [point for line in data["lines"] for point in line["points"]]
    low, high = min(max(1, point[0]) for point in points), max(point[0] for point in points)
    room = max((high / low) ** 0.06, 1.15)
    low, high = low / room, high * room
    axes.set_xlim(low, high)
    ends = [100 * (mean + side * half) for _, mean, half in points for side in (-1, 1)]
    ends += [100 * data["full"]] if data["full"] is not None else []
    margin = 0.06 * (max(ends) - min(ends)) or 1.0
    axes.set_ylim(min(ends) - margin, max(ends) + margin)
    axes.xaxis.set_major_locator(FixedLocator(ticks(low, high, across)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
    axes.grid(True, color=look.GRID, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if data["full"] is not None:
        full = 100 * data["full"]
        axes.axhline(full, color=look.FAINT, linewidth=1.0, linestyle=(0, (2, 2)), zorder=2)
        axes.annotate("full data", (0, full), (4, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                      color=look.FAINT, fontsize=8.5)  # fmt: skip
