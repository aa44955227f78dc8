"""Which sets are pooled in a row, which count once, and how rows are named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from condense.evaluate.leaderboard import board, grid, markdown, terminal
from condense.evaluate.leaderboard.board import Table
from condense.evaluate.parts import Cell
from condense.evaluate.records import Record

Make = Callable[..., Record]
BUDGET = "the time budget of 0.01 s is used up"


def only(records: list[Record]) -> Table:
    (table,) = board.tables(records)
    return table


def sets_of(table: Table, method: str) -> tuple[str, list[str]]:
    """The cell that counts the sets of a method, with its notes."""
    shown = grid.accuracy(table, [])
    place = [column.title for column in shown.columns].index("sets")
    number = [row.method for row in table.rows].index(method)
    cell = shown.rows[number][place]
    return cell.text, [shown.notes[note - 1] for note in cell.notes]


def stopped(step: int, reason: str = BUDGET) -> dict[str, Any]:
    return {"match": {"step": step, "reason": reason}}


def test_a_set_that_was_stopped_is_no_replication_of_one_that_was_not(record: Make) -> None:
    table = only([record("dm", config={"steps": 40}), record("dm", config={"steps": 40}, stops=stopped(0))])
    assert sorted(row.name for row in table.rows) == ["DM (cpu)", f"DM (cpu, match stopped at step 0: {BUDGET})"]
    alone = only([record("dm", stops=stopped(0)), record("random")])
    assert [row.name for row in alone.rows if row.method == "dm"] == [f"DM (match stopped at step 0: {BUDGET})"]


def test_sets_that_ended_for_one_reason_are_one_row_that_says_after_how_many_steps(record: Make) -> None:
    (row,) = only([record("dm", seed=seed, stops=stopped(30 + seed)) for seed in (0, 1)]).rows
    assert row.seeds == (0, 1)
    assert row.setting == f"cpu, match stopped at step 30 to 31: {BUDGET}"
    reasons = [f"50 steps in a row were rejected, the last with a loss of {loss}" for loss in (3, 4)]
    given = [record("dm", seed=seed, stops=stopped(9, reason)) for seed, reason in enumerate(reasons)]
    assert len(only(given).rows) == 1
    jobs = [record("dm", seed=seed, stops=stopped(9, f"{seed + 1} of 4 jobs: {BUDGET}")) for seed in (0, 1)]
    assert len(only(jobs).rows) == 1


def test_another_machine_alone_makes_no_other_row(record: Make) -> None:
    (row,) = only([record("dm", seed=seed, engine={"threads": seed + 1}) for seed in (0, 1)]).rows
    assert row.seeds == (0, 1)
    assert row.repeated == {}


def test_different_sets_of_one_seed_are_not_averaged_without_a_word(record: Make) -> None:
    old = record("dm", engine={"torch": "2.12"}, cells={"mlp": [0.2, 0.3]})
    new = record("dm", engine={"torch": "2.13"}, cells={"mlp": [0.4, 0.5]})
    table = only([old, new])
    (row,) = table.rows
    assert row.scores["mlp"].runs == pytest.approx({(0, 0): 0.3, (0, 1): 0.4})
    text, (note,) = sets_of(table, "dm")
    assert text == "2"
    assert note.startswith("Distillation seed 0 gave 2 different sets, ")
    assert f"{old.set.id[:8]} (torch=2.12)" in note
    assert f"{new.set.id[:8]} (torch=2.13)" in note


def test_seeds_that_gave_one_set_are_no_replications(record: Make) -> None:
    cells = {"mlp": [0.4, 0.42]}
    same = [record("kmeans", seed=seed, content="c" * 64, cells=cells) for seed in (0, 1)]
    random = [record("random", seed=seed, cells={"mlp": [0.3, 0.31 + seed / 100]}) for seed in (0, 1)]
    table = only([*same, *random])
    (row,) = (row for row in table.rows if row.method == "kmeans")
    assert row.scores["mlp"].runs == {(None, 0): 0.4, (None, 1): 0.42}
    assert sets_of(table, "kmeans") == (
        "1",
        ["Distillation seeds 0 and 1 gave one and the same set."],
    )
    third = record("kmeans", seed=2, content="d" * 64, cells={"mlp": [0.5, 0.52]})
    (row,) = only([*same, third]).rows
    assert row.by_set(("mlp",)) == pytest.approx((0.41, 0.51))
    assert [sorted(r.set.seed for r in group) for group in row.sets] == [[0, 1], [2]]


@pytest.mark.parametrize(
    ("accuracies", "changes", "sets"),
    [
        ([0.4, 0.42, 0.4], {}, 1),
        ([0.4, 0.42], {}, 2),  # two runs may agree by chance
        ([0.1, 0.1, 0.1], {}, 2),  # as of a network that answers alike for every image
        ([0.4, 0.42, 0.4], {"weights": (30720, 81, 0, 0)}, 2),
        ([0.4, 0.42, 0.4], {"cells": {"mlp": [0.4, 0.42, 0.41]}}, 2),
        ([0.4, 0.42, 0.4], {"cells": {"mlp": Cell(status="n/a", reason="why")}}, 2),
    ],
)
def test_records_without_a_digest_of_the_content_are_of_one_set_where_nothing_tells_them_apart(
    record: Make, accuracies: list[float], changes: dict[str, Any], sets: int
) -> None:
    cells = {"mlp": accuracies}
    (row,) = only([record("kmeans", cells=cells), record("kmeans", seed=1, **{"cells": cells, **changes})]).rows
    assert len(row.sets) == sets


def test_equal_accuracies_are_no_proof_where_the_content_differs(record: Make) -> None:
    cells = {"mlp": [0.4, 0.42, 0.4]}
    (row,) = only([record("dm", seed=seed, content=f"{seed}" * 64, cells=cells) for seed in (0, 1)]).rows
    assert len(row.sets) == 2


def test_one_set_under_two_names_is_called_so(record: Make) -> None:
    chosen = [record(method, seeded=False, content="c" * 64) for method in ("herding", "kcenter")]
    table = only([*chosen, record("random", content="d" * 64)])
    note = "One and the same set: HERDING and KCENTER."
    assert note in sets_of(table, "herding")[1]
    assert note in sets_of(table, "kcenter")[1]
    assert note not in sets_of(table, "random")[1]


def ablation(record: Make, seed: int = 0, **extra: Any) -> Record:
    """A set of CV-DD, say, with what all of its rows change and, of these rows, one alone."""
    long = {"committee": "resnet18:norm=batch,width=16+convnet-d3:norm=batch,width=64+vgg11:norm=batch,width=32"}
    common = {**long, "steps": 1000}
    changed = sorted({**common, **extra})
    return record("cvdd", seed=seed, config={"voting": "prior", **common, **extra}, preset="table", changed=changed)


def test_rows_are_named_by_what_was_changed(record: Make) -> None:
    (row,) = only([record("dm", config={"steps": 1000, "lr": 5.0}, preset=None, changed=["lr", "steps"])]).rows
    assert row.setting == "default, lr=5, steps=1000"
    table = only([*(ablation(record, seed) for seed in (0, 1)), ablation(record, voting="equal")])
    assert sorted(row.name for row in table.rows) == ["CVDD (table, 2 changed)", "CVDD (table, voting=equal)"]
    shown = grid.accuracy(table, [])
    settings = {row[2].text: [shown.notes[note - 1] for note in row[2].notes] for row in shown.rows}
    assert set(settings) == {"table, 2 changed", "table, voting=equal, 2 more changed"}
    assert all("Changed from table: committee=resnet18" in note for (note,) in settings.values())


def test_labels_given_afterwards_are_named_by_what_they_are_and_not_by_where_they_lay(record: Make) -> None:
    recipe = {"kind": "regions", "batch": 16, "weights": [0.25, 0.75]}
    equal = {"kind": "regions", "batch": 16}

    def relabelled(method: str, recipe: dict[str, Any], name: str, by: str) -> Record:
        config, preset = {"label_recipe": recipe}, f"default, labels {name}"
        return record(method, config=config, preset=preset, changed=[], label_recipe=by)

    made = [
        record("cvdd", config={"labels": "regions"}, preset="table", changed=[], label_recipe="a"),
        relabelled("random", recipe, "random-labels-cvdd-s0", "a"),
        relabelled("random", equal, "cvdd-equal-votes-s0", "b"),
        relabelled("random", {"kind": "fixed", "temperature": 30.0}, "elsewhere-s0", "c"),
    ]
    assert sorted(row.setting for row in only(made).rows) == [
        "default, labels fixed, temperature=30",
        "default, labels of CVDD",
        "default, labels of CVDD without weights=0.25/0.75",
        "table",
    ]


def test_the_index_calls_neither_single_sets_ahead_nor_changed_settings_without_naming_them(record: Make) -> None:
    def of(method: str, seed: int, accuracy: float, **fields: Any) -> Record:
        return record(method, seed=seed, cells={"mlp": [accuracy, accuracy + 0.2]}, **fields)

    two = [of(method, seed, 0.4 + seed / 100) for method in ("dm", "dc") for seed in (0, 1)]
    short = [of("cvdd", seed, 0.42 + seed / 100, config={"steps": 9}, changed=["steps"]) for seed in (0, 1)]
    table = only([*two, *short, of("mtt", 0, 0.5)])
    assert all(rank is not None and rank.best == 1 for rank in table.ranks)
    (line,) = (line for line in markdown.index([table], [], []).splitlines() if line.startswith("| hard-dsa-1 "))
    assert [cell.strip() for cell in line.split("|")][-3:-1] == ["DC; DM", "CVDD (cpu, steps=9)"]


def test_a_long_setting_leaves_room_for_the_networks_on_a_terminal(record: Make) -> None:
    cells = {"convnet-d3": [0.4, 0.42]}
    recipe = {"kind": "regions", "teachers": "resnet18:norm=batch,width=16+convnet-d3:norm=batch,width=64+vgg11"}
    changed = [record("dm", config={"label_recipe": recipe}, preset="default, labels x", changed=[], cells=cells)]
    table = only([*changed, record("dm", cells=cells)])
    lines = terminal.text(table, grid.accuracy(table, []), grid.cost(table), 100).splitlines()
    assert max(map(len, lines)) <= 100
    (head,) = (line for line in lines if "setting" in line)
    assert head.split()[:4] == ["rank", "method", "setting", "convnet-d3"]
    assert not any("Not shown" in line for line in lines)
