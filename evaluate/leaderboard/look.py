"""How the pictures of the leaderboard look, and how they become bytes.

Colours are told apart by every common kind of colour vision (a viridis ramp; Okabe and Ito's palette with markers).
Pictures carry no date, so that the same records give the same bytes with the same matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from condense.identity import digest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VERSION = 3  # raise it when the drawing changes, so that pictures on disk count as out of date
SUFFIXES = ("png", "svg")

INK, FAINT, GRID, EMPTY = "#1d2733", "#66717e", "#e3e7ec", "#f1f3f5"
WARNING = "#a84600"
REAL = "#4d5560"  # selections of real images are grey, synthetic sets are coloured
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#2f9fd8", "#7b3fa0")
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h")
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same shapes everywhere
    "font.size": 9,
    "svg.hashsalt": "condense",
    "svg.fonttype": "path",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of this size in inches, in the style of the leaderboard, without a window."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # a user's own matplotlibrc must not change the bytes
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure


def hash_of(data: dict[str, Any]) -> str:
    """The hash of what a picture is drawn from, which stands beside it."""
    return digest({"look": VERSION, "data": data})


def head_height(data: dict[str, Any]) -> float:
    """Inches that the headline takes at the top of a picture."""
    return 0.62 + (0.22 if data["tier"] else 0.0)


def headline(figure: Figure, title: str, data: dict[str, Any]) -> None:
    """The title of a picture and, below it, what the numbers belong to and what they may be compared with."""
    left, height = 0.14 / figure.get_figwidth(), figure.get_figheight()
    figure.text(left, 1 - 0.24 / height, title, fontsize=12, weight="bold", va="center")
    figure.text(left, 1 - 0.48 / height, data["title"], fontsize=8.5, color=FAINT, va="center")
    figure.text(left, 1 - 0.70 / height, data["tier"], fontsize=8.5, color=WARNING, va="center")


def encode(figure: Figure) -> dict[str, bytes]:
    """The picture's bytes by suffix."""
    pictures = {}
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        target = io.BytesIO()
        figure.savefig(target, format=suffix, dpi=160, metadata=metadata, facecolor="white")
        pictures[suffix] = target.getvalue()
    return pictures
