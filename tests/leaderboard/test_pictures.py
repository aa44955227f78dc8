"""The pictures: deterministic, complete, and without names that cover each other."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.evaluate.leaderboard import board, heat_map, label_places, look, size_plot
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


points = st.tuples(st.floats(0, 7), st.floats(0, 4))


@given(st.lists(st.lists(points, min_size=1, max_size=3), min_size=1, max_size=20))
def test_no_name_covers_another_name_or_a_mark(marks: list[list[tuple[float, float]]]) -> None:
    names = [f"method-{number}" for number in range(len(marks))]
    places = label_places.label_places(marks, names)
    width = label_places.CHARACTER * len("method-0")
    for i, (left, middle) in enumerate(places):
        for other_left, other_middle in places[:i]:
            apart = abs(left - other_left) >= width or abs(middle - other_middle) >= label_places.LINE - 1e-6
            assert apart, "two names overlap"
        for x, y in (mark for line in marks for mark in line):
            inside = left < x < left + width and abs(y - middle) < label_places.LINE / 2 - 1e-6
            assert not inside, "a name covers a mark"


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.floats(0.01, 1))
def test_spreading_keeps_the_order_and_the_distance(wanted: list[float], step: float) -> None:
    placed = label_places.spread(wanted, step)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    gaps = [placed[after] - placed[before] for before, after in pairwise(order)]
    assert all(gap >= step - 1e-9 for gap in gaps)
    if all(wanted[b] - wanted[a] >= step for a, b in pairwise(order)):
        assert placed == pytest.approx(wanted)
