"""The transfer plot: what it is drawn from, and that all of it is in the picture."""

from __future__ import annotations

import io
from typing import Any

import pytest
from record_cases import KRR, RANDOM, SCRATCH, made

from condense.evaluate.leaderboard import look, transfer_plot
from condense.evaluate.parts import Cell
from condense.evaluate.transfer import tables
from condense.evaluate.transfer.records import TransferRecord

FAILED = Cell(status="failed", reason="diverged: loss")


def data_of(*found: TransferRecord) -> dict[str, Any] | None:
    (table,) = tables.tables(found)
    return transfer_plot.data_of(table, "one half to the other", "Tier “quick”.")


def test_panels_hold_the_means_of_the_table_and_of_each_set() -> None:
    data = data_of(SCRATCH, *RANDOM, *KRR)
    assert data is not None
    assert [start["name"] for start in data["names"]] == ["From scratch", "RANDOM_TEACHER", "KRR_ST"]
    assert (data["uses"], data["shares"], data["baseline"]) == (["fine-tune", "probe"], [1.0], 1)
    panels = {panel["use"]: panel["starts"] for panel in data["panels"]}
    assert panels["fine-tune"][1:] == [None, None]
    scratch, random, krr = panels["probe"]
    assert (scratch["mean"], scratch["sets"]) == (pytest.approx(0.55), [])
    assert random["sets"] == pytest.approx([0.6, 0.6])
    assert krr["sets"] == pytest.approx([0.655, 0.655])
    assert krr["half"] > 0


def test_a_reference_a_baseline_and_methods_differ_in_colour() -> None:
    data = data_of(SCRATCH, *RANDOM, *KRR, made("frepo", labels="probability"))
    assert data is not None
    colours = {start["name"]: start["colour"] for start in data["names"]}
    assert len(set(colours.values())) == 4
    assert (colours["From scratch"], colours["RANDOM_TEACHER"]) == (look.FAINT, look.REAL)


def test_the_same_numbers_give_the_same_bytes_at_readme_width() -> None:
    from PIL import Image

    shares = {f"{use}@{share}": [0.5, 0.6] for use in ("fine-tune", "probe") for share in ("0.01", "0.05", "1")}
    data = data_of(made("scratch", shares), made("krr_st", {**shares, "probe@1": FAILED}))
    assert data is not None
    first, second = transfer_plot.draw(data), transfer_plot.draw(data)
    assert first == second
    assert set(first) == set(look.SUFFIXES)
    with Image.open(io.BytesIO(first["png"])) as image:
        assert 1100 <= image.width <= 1700


def test_without_any_number_there_is_no_plot() -> None:
    assert data_of(made(accuracy={"probe@1": FAILED})) is None
