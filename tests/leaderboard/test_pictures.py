"""The pictures: deterministic, complete, true to their sizes, and without texts that cover each other."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.evaluate.leaderboard import board, heat_map, look, size_plot
from condense.evaluate.parts import Cell
from condense.evaluate.records import Record

Make = Callable[..., Record]


def crowd(record: Make, panel: tuple[str, ...], methods: int = 20) -> list[Record]:
    """Twenty methods that end at one size within one point of accuracy: the worst case for names."""
    return [
        record(
            f"method-{number}",
            kind="synthetic" if number % 2 else "selection",
            cells={name: [0.4 + 0.0005 * number, 0.401 + 0.0005 * number] for name in panel},
        )
        for number in range(methods)
    ]


def test_the_same_numbers_give_the_same_bytes(record: Make) -> None:
    (table,) = board.tables([record("dm", kind="synthetic"), record("random", cells={"convnet-d3": [0.2, 0.3]})])
    for module, data in ((heat_map, heat_map.data_of(table)), (size_plot, size_plot.data_of([table]))):
        assert data is not None
        first, second = module.draw(data), module.draw(data)
        assert set(first) == set(look.SUFFIXES)
        assert first == second
        assert not any(word in first["svg"] for word in (b"<dc:date>", b"matplotlib.org"))


def test_a_users_own_matplotlib_settings_change_nothing(record: Make) -> None:
    import matplotlib as mpl

    (table,) = board.tables([record("random")])
    data = size_plot.data_of([table])
    assert data is not None
    expected = size_plot.draw(data)
    with mpl.rc_context({"axes.facecolor": "black", "lines.linewidth": 9, "font.size": 30}):
        assert size_plot.draw(data) == expected


def test_pictures_are_drawn_at_readme_width_for_twenty_methods_and_seven_networks(
    record: Make, panel: tuple[str, ...]
) -> None:
    from PIL import Image

    (table,) = board.tables(crowd(record, panel))
    heat, plot = heat_map.data_of(table), size_plot.data_of([table])
    assert heat is not None
    assert plot is not None
    for picture in (heat_map.draw(heat), size_plot.draw(plot)):
        with Image.open(io.BytesIO(picture["png"])) as image:
            assert 1100 <= image.width <= 1500


def test_the_heat_map_says_n_a_and_failed_and_leaves_out_what_was_not_judged(record: Make) -> None:
    cells = {"mlp": Cell(status="n/a", reason="why"), "vit": Cell(status="failed", reason="why"), "lenet": [0.5]}
    (table,) = board.tables([record("dm", cells=cells), record("random", cells={"lenet": [0.4]})])
    data = heat_map.data_of(table)
    assert data is not None
    assert [row["cells"] for row in data["rows"]] == [[0.5, "n/a", "failed"], [0.4, "–", "–"]]
    assert heat_map.draw(data)["png"].startswith(b"\x89PNG")


def test_without_any_number_there_is_no_picture(record: Make) -> None:
    (table,) = board.tables([record("dm", cells={"mlp": Cell(status="n/a", reason="why")})])
    assert heat_map.data_of(table) is None
    assert size_plot.data_of([table]) is None


def test_one_method_with_one_run_is_drawn(record: Make) -> None:
    (table,) = board.tables([record("random", cells={"mlp": [0.5]})])
    heat, plot = heat_map.data_of(table), size_plot.data_of([table])
    assert heat is not None
    assert plot is not None
    assert len(heat_map.draw(heat)) == len(size_plot.draw(plot)) == 2


def test_the_quick_tier_is_named_in_the_data_that_pictures_are_drawn_from(record: Make) -> None:
    (table,) = board.tables([record("random", tier="quick")])
    assert all(
        data is not None and "quick" in data["tier"] for data in (heat_map.data_of(table), size_plot.data_of([table]))
    )


def test_knobs_of_a_network_make_its_column_taller_and_not_wider(record: Make) -> None:
    from PIL import Image

    sizes = []
    for name in ("convnet-d3", "convnet-d3:norm=batch,width=32"):
        (table,) = board.tables([record("random", cells={name: [0.5], "mlp": [0.4]})])
        data = heat_map.data_of(table)
        assert data is not None
        with Image.open(io.BytesIO(heat_map.draw(data)["png"])) as image:
            sizes.append(image.size)
    assert sizes[0][0] == sizes[1][0]
    assert sizes[0][1] < sizes[1][1]


def test_budgets_of_one_method_are_one_line_from_small_to_large(record: Make) -> None:
    made = [record("dm", budget={"ipc": n}, weights=(n * 1000, 0, 0, n)) for n in (50, 1, 10)]
    data = size_plot.data_of(board.tables(made))
    assert data is not None
    assert [point[0] for point in data["lines"][0]["points"]] == [1001, 10010, 50050]


def plotted(record: Make, sizes: list[int]) -> tuple[Any, Any]:
    """The plot of methods with one set each of these sizes, as figure and axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = [
        record(f"method-{number}", kind="synthetic", cells={"mlp": [0.3 + number / 50, 0.32 + number / 50]},
               weights=(size, 0, 0, 0), config={"size": size})
        for number, size in enumerate(sizes)
    ]  # fmt: skip
    data = size_plot.data_of(board.tables(made))
    assert data is not None
    figure = Figure(figsize=(9.2, 4.5))
    FigureCanvasAgg(figure)
    axes = size_plot.paint(figure, data)
    figure.canvas.draw()
    return figure, axes


@given(st.floats(1, 1e12), st.floats(1.3, 1e9), st.floats(4, 8))
def test_a_size_axis_has_a_tick_and_none_that_run_into_each_other(low: float, ratio: float, inches: float) -> None:
    found = size_plot.ticks(low, low * ratio, inches)
    assert found
    assert all(low <= value <= low * ratio for value in found)
    gaps = [math.log(after / before) / math.log(ratio) * inches for before, after in pairwise(found)]
    assert all(gap >= 0.6 for gap in gaps)


@pytest.mark.parametrize("sizes", [[309_300, *[907_300] * 9], [907_300], [30_000, 77_000_000], [700, 1900]])
def test_the_size_axis_is_that_of_the_data_and_its_labels_do_not_overlap(record: Make, sizes: list[int]) -> None:
    _, axes = plotted(record, sizes)
    low, high = axes.get_xlim()
    assert min(sizes) / low <= 1.16 * (max(sizes) / min(sizes)) ** 0.06
    assert high / max(sizes) <= 1.16 * (max(sizes) / min(sizes)) ** 0.06
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert boxes
    assert all(before.x1 < after.x0 for before, after in pairwise(boxes))


def test_marks_stand_at_their_size_and_intervals_within_the_width_of_a_mark(record: Make) -> None:
    figure, axes = plotted(record, [907_300] * 9)
    (place,) = {float(axes.transData.transform((x, 1))[0]) for line in axes.lines for x in line.get_xdata()}
    for line in axes.lines:
        across = line.get_transform().transform(line.get_xydata())[:, 0]
        assert all(abs(x - place) <= 3.0 / 72 * figure.dpi for x in across)
        if line.get_marker() != "_":
            assert list(across) == pytest.approx([place] * len(across))


def test_names_stand_beside_the_axes_from_the_most_accurate_down(record: Make) -> None:
    figure, axes = plotted(record, [700, *[907_300] * 20])
    legend = axes.get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [f"METHOD-{number}" for number in reversed(range(21))]
    assert legend.get_window_extent().x0 > axes.get_window_extent().x1
    assert legend.get_window_extent().x1 < figure.bbox.x1
    styles = {(line.get_color(), line.get_marker()) for line in legend.get_lines()}
    assert len(styles) == len(names)
