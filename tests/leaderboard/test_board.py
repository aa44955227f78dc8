"""Which records make a row, which rows a table, and who is ranked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from condense.errors import BadInput
from condense.evaluate.leaderboard import board, cards, grid, words
from condense.evaluate.leaderboard.board import Table
from condense.evaluate.parts import Cell
from condense.evaluate.records import Record

Make = Callable[..., Record]
FAILED = Cell(
    status="failed",
    seeds=(1,),
    accuracy=(0.5,),
    failures={"0": "loss is not finite"},
    reason="seed 0: loss is not finite",
)
NOT_OFFERED = Cell(status="n/a", reason="the set offers no hard labels")


def only(records: list[Record]) -> Table:
    (table,) = board.tables(records)
    return table


def test_distillation_seeds_of_one_configuration_are_one_row(record: Make) -> None:
    table = only([record("dm", seed=seed, cells={"mlp": [0.4 + seed / 10, 0.42]}) for seed in (0, 1)])
    (row,) = table.rows
    assert row.seeds == (0, 1)
    assert not row.one_set
    assert row.scores["mlp"].runs == {(0, 0): 0.4, (0, 1): 0.42, (1, 0): 0.5, (1, 1): 0.42}


def test_one_set_of_a_method_that_draws_nothing_stands_for_the_method(record: Make) -> None:
    drawn, fixed = record("kmeans", seed=0), record("herding", seed=0, seeded=False)
    table = only([drawn, fixed])
    sets = {row.method: shown for row, shown in zip(table.rows, _column(grid.accuracy(table, []), "sets"), strict=True)}
    assert {row.method: row.one_set for row in table.rows} == {"kmeans": True, "herding": False}
    assert sets == {
        "kmeans": (
            "one set",
            ["One set: these runs share one distillation, so they speak of this set, not of the method."],
        ),
        "herding": ("1", ["The method draws nothing: every distillation seed gives this set."]),
    }


def _column(shown: grid.Grid, title: str) -> list[tuple[str, list[str]]]:
    """The texts of a column with their notes."""
    index = [column.title for column in shown.columns].index(title)
    return [(row[index].text, [shown.notes[note - 1] for note in row[index].notes]) for row in shown.rows]


def test_configurations_are_never_pooled_and_are_told_apart_by_name(record: Make) -> None:
    table = only([record("dm", seed=seed, config={"lr": seed}, preset="cpu") for seed in (0, 1)])
    assert len({row.name for row in table.rows}) == 2
    assert sorted(row.name for row in table.rows) == ["DM (cpu, lr=0)", "DM (cpu, lr=1)"]
    assert all(row.one_set for row in table.rows)
    by_preset = only([record("dm", config={"lr": preset}, preset=preset) for preset in ("fast", "slow")])
    assert sorted(row.name for row in by_preset.rows) == ["DM (fast)", "DM (slow)"]


def test_a_switch_that_is_off_and_one_that_did_not_exist_yet_are_one_configuration(record: Make) -> None:
    configs = [{"lr": 1.0}, {"lr": 1.0, "mirror": False}, {"lr": 1.0, "mirror": True}, {"lr": 0.0}]
    table = only([record("dm", seed=seed, config=config) for seed, config in enumerate(configs)])
    assert sorted(row.seeds for row in table.rows) == [(0, 1), (2,), (3,)]


def test_what_sets_share_counts_in_full_for_each_of_them(record: Make) -> None:
    found = []
    for seed, shared in ((0, 30.0), (1, 50.0)):
        made = record("kmeans", seed=seed)
        spent = made.volatile.distill.model_copy(update={"seconds": 2.0, "shared_seconds": shared})
        found.append(made.model_copy(update={"volatile": made.volatile.model_copy(update={"distill": spent})}))
    (row,) = only(found).rows
    assert row.distill_seconds == 42.0
    card = next(text for path, text in cards.texts(found[:1]).items() if path.startswith("cifar10/"))
    assert "| distillation | 2 s, and 30 s for what other sets share |" in card


def test_tracks_data_sets_and_budgets_have_tables_of_their_own(record: Make) -> None:
    made = [
        record(protocol="soft-common", track="common-soft"),
        record(protocol="hard-dsa"),
        record(dataset="digits"),
        record(budget={"ipc": 50}),
        record(budget={"ipc": 2}),
    ]
    keys = [table.key.path for table in board.tables(made)]
    assert keys == [
        "hard-dsa-1/cifar10/ipc-2",
        "hard-dsa-1/cifar10/ipc-10",
        "hard-dsa-1/cifar10/ipc-50",
        "hard-dsa-1/digits/ipc-10",
        "soft-common-1/cifar10/ipc-10",
    ]


def test_records_of_two_judges_or_protocol_texts_are_not_set_side_by_side(record: Make) -> None:
    with pytest.raises(BadInput, match=r"were judged with a different judge; judge one of them again"):
        board.tables([record("dm"), record("dc", judge=2)])
    with pytest.raises(BadInput, match="a different protocol"):
        board.tables([record("dm"), record("dc", track="own")])


def test_mean_and_rank_are_over_the_networks_that_every_row_was_judged_on(record: Make) -> None:
    table = only(
        [
            record("dm", cells={"convnet-d3": [0.5, 0.51, 0.5], "vit": [0.1, 0.1, 0.1]}),
            record("random", cells={"convnet-d3": [0.3, 0.31, 0.31]}),
        ]
    )
    assert table.networks == ("convnet-d3", "vit")
    assert table.panel == ("convnet-d3",)
    assert [row.method for row in table.rows] == ["dm", "random"]
    assert table.ranks == ((1, 1), (2, 2))


def test_rows_without_a_common_network_have_no_rank(record: Make) -> None:
    table = only([record("dm", cells={"mlp": [0.5, 0.6]}), record("dc", cells={"vit": [0.5, 0.6]})])
    assert table.panel == ()
    assert table.ranks == (None, None)
    assert "there is no mean and no rank" in grid.accuracy(table, []).caption


@pytest.mark.parametrize(("cell", "status"), [(FAILED, "failed"), (NOT_OFFERED, "n/a")])
def test_a_cell_without_a_number_takes_the_rank_and_leaves_a_footnote(record: Make, cell: Cell, status: str) -> None:
    table = only(
        [record("dm", cells={"mlp": [0.9, 0.9], "vit": cell}), record(cells={"mlp": [0.3, 0.3], "vit": [0.2, 0.2]})]
    )
    assert [row.method for row in table.rows] == ["random", "dm"]
    assert table.ranks == ((1, 1), None)
    shown = grid.accuracy(table, [])
    vit = shown.rows[1][[column.title for column in shown.columns].index("vit")]
    assert vit.text == status
    assert cell.reason is not None
    assert cell.reason in shown.notes[vit.notes[0] - 1]


def test_one_failed_set_fails_the_row_on_that_network(record: Make) -> None:
    table = only([record("dm", seed=0, cells={"mlp": [0.5]}), record("dm", seed=1, cells={"mlp": FAILED})])
    score = table.rows[0].scores["mlp"]
    assert score.status == "failed"
    assert score.summary is None
    assert score.reason == "set of seed 1: seed 0: loss is not finite"


def test_the_whole_training_set_is_a_reference_without_a_rank(record: Make) -> None:
    full = record("full", kind="full", budget={"fraction": 1.0}, cells={"convnet-d3": [0.8, 0.81]})
    table = only([full, record("random")])
    assert [row.method for row in table.rows] == ["random"]
    assert [row.method for row in table.references] == ["full"]
    assert not table.references[0].one_set
    shown = grid.accuracy(table, [])
    assert shown.rows[-1][0].text == "ref"
    assert "judged under fraction-1" in " ".join(shown.notes)


def test_full_data_alone_still_has_a_table(record: Make) -> None:
    table = only([record("full", kind="full", budget={"fraction": 1.0})])
    assert table.rows == ()
    assert table.panel == ("convnet-d3",)


def test_ior_and_hlr_come_from_random_and_full(record: Make) -> None:
    table = only(
        [
            record("random", cells={"mlp": [0.30, 0.31]}),
            record("dm", kind="synthetic", cells={"mlp": [0.50, 0.53]}),
            record("full", kind="full", cells={"mlp": [0.8, 0.82]}),
        ]
    )
    dm = table.rows[0]
    gain = table.gain(dm)
    assert gain is not None
    assert gain.mean == pytest.approx(0.21)
    assert table.recovery(dm) == pytest.approx(0.81 - 0.515)
    shown = grid.robustness(table)
    assert shown is not None
    assert [cell.text for cell in shown.rows[0][2:6]] == [
        "+21.0 ± 12.7 (2)",
        "–",  # one set only
        "29.5",
        "0.2512",
    ]  # alpha = (0.21 - 0.295) / 2


def test_hlr_needs_hard_labels_and_ars_needs_the_protocol_without_augmentation(record: Make) -> None:
    made = [record("random", cells={"mlp": [0.3, 0.31]}), record("dm", cells={"mlp": [0.5, 0.5]})]
    soft = only([record(one.set.method, protocol="soft-common", track="common-soft") for one in made])
    assert soft.recovery(soft.rows[0]) is None
    plain = only(
        [
            record("random", cells={"mlp": [0.2, 0.2]}, protocol="hard-plain"),
            record("dm", cells={"mlp": [0.4, 0.4]}, protocol="hard-plain"),
        ]
    )
    shown = grid.robustness(only(made), plain)
    assert shown is not None
    assert [cell.text for cell in shown.rows[0][4:]] == ["–", "–", "0.3618"]  # beta = (0.195 + 0.2) / 2


def test_words_name_each_synthesising_method_that_does_not_beat_random(record: Make) -> None:
    table = only(
        [
            record("random", cells={"mlp": [0.30, 0.32, 0.31]}),
            record("dm", kind="synthetic", cells={"mlp": [0.50, 0.53, 0.51]}),
            record("dc", kind="synthetic", cells={"mlp": [0.31, 0.31, 0.32]}),
            record("mtt", kind="synthetic", cells={"vit": [0.4]}),
            record("herding", cells={"mlp": [0.1, 0.1, 0.1]}),
        ]
    )
    # No network is common to all rows, so nothing is compared; without `mtt` there is one.
    assert all("shares no run" in sentence for sentence in words.against_random(table))
    rest = only([one for row in table.rows if row.method != "mtt" for one in row.records])
    assert words.against_random(rest) == [
        "DM beats `random` by the test over runs of one set, which speaks of the sets and not of the methods; "
        "Holm-corrected.",
        "DC does not beat `random` outside the 95 % interval: +0.3 ± 2.9 points over 3 paired runs.",
    ]


def test_words_admit_when_there_is_nothing_to_compare_with(record: Make) -> None:
    assert words.against_random(only([record("random")])) == []
    alone = only([record("dm", kind="synthetic")])
    assert words.against_random(alone) == [
        "No row of `random` here, so whether the methods beat random images is open."
    ]
    single = only([record("random", cells={"mlp": [0.3]}), record("dm", kind="synthetic", cells={"mlp": [0.5]})])
    assert "share one run only (+20.0 points)" in words.against_random(single)[0]
    same = only(
        [record("random", cells={"mlp": [0.3, 0.4]}), record("dm", kind="synthetic", cells={"mlp": [0.5, 0.6]})]
    )
    assert "all 2 differences over paired runs are +20.0 points" in words.against_random(same)[0]


def nested(record: Make, method: str, kind: str, *sets: list[float]) -> list[Record]:
    """Records of one method: the accuracies of each distillation seed on one network."""
    return [record(method, kind=kind, seed=seed, cells={"mlp": found}) for seed, found in enumerate(sets)]


def test_two_sets_claim_something_of_the_method_by_the_spread_of_the_table(record: Make) -> None:
    random = nested(record, "random", "selection", [0.30, 0.31, 0.32], [0.30, 0.32, 0.31])
    above = nested(record, "dm", "synthetic", [0.50, 0.52, 0.51], [0.49, 0.51, 0.50])
    near = nested(record, "dc", "synthetic", [0.34, 0.36, 0.35], [0.33, 0.35, 0.34])
    table = only([*random, *above, *near])
    # Variances of two sets 0.5, 0.5 and 0 points squared, pooled 1/3 with 3 d.f.: the half of DM's and DC's gain is
    # 3.18 sqrt((0.5 + 1/3) / 2) = 2.05 points, that of their means 3.18 sqrt(0.5 / 2) = 1.59 and Random's 1.30.
    assert words.against_random(table) == [
        "DM, DC beat `random` by the tests over 2 distillation seeds and over runs; Holm-corrected."
    ]
    assert _column(grid.accuracy(table, []), "mean of each set") == [
        ("51.0 / 50.0", []), ("35.0 / 34.0", []), ("31.0 / 31.0", []),
    ]  # fmt: skip
    assert [text for text, _ in _column(grid.accuracy(table, []), "mean")] == [
        "50.5 ± 1.6 (6)", "34.5 ± 1.6 (6)", "31.0 ± 1.3 (6)",
    ]  # fmt: skip
    against = grid.robustness(table)
    assert against is not None
    assert _column(against, "IOR of each set") == [("+20.0 / +19.0", []), ("+4.0 / +3.0", [])]
    assert [text for text, _ in _column(against, "IOR")] == ["+19.5 ± 2.1 (6)", "+3.5 ± 2.1 (6)"]


def test_a_gain_that_the_correction_does_not_leave_is_named_as_not_separated(record: Make) -> None:
    random = nested(record, "random", "selection", [0.30, 0.31, 0.32], [0.30, 0.32, 0.31])
    near = nested(record, "dc", "synthetic", [0.325, 0.345, 0.335], [0.315, 0.335, 0.325])
    crowd = [nested(record, name, "selection", [0.350] * 3, [0.3425] * 3) for name in ("herding", "kmeans", "kcenter")]
    table = only([*random, *near, *(one for made in crowd for one in made)])
    (said,) = words.against_random(table)
    (dc,) = (row for row in table.rows if row.method == "dc")
    gain, corrected = table.gain(dc), table.corrected_gain(dc)
    assert gain is not None
    assert gain.p is not None
    assert corrected is not None
    assert gain.p < 0.05 < corrected
    assert said == (
        f"DC is not separated from `random` after Holm's correction (p = {corrected:.2g}), though it is by itself "
        f"(p = {gain.p:.2g}): {words.measured(gain)}."
    )


def test_three_sets_are_three_values_however_often_each_is_evaluated(record: Make) -> None:
    random = nested(record, "random", "selection", *[[0.30] * 5] * 3)
    # Variances of three sets 4, 1 and 0 points squared, pooled 5/3 with 6 d.f.: the half of DM's gain of 3 points is
    # 2.45 sqrt((4 + 5/3) / 3) = 3.36 points.
    uncertain = nested(record, "dm", "synthetic", [0.31] * 5, [0.35] * 5, [0.33] * 5)
    certain = nested(record, "dc", "synthetic", [0.41] * 5, [0.43] * 5, [0.42] * 5)
    assert words.against_random(only([*random, *uncertain, *certain])) == [
        "DC beats `random` by the tests over 3 distillation seeds and over runs; Holm-corrected.",
        "DM does not beat `random` outside the 95 % interval: +3.0 ± 3.4 points over 3 distillation seeds, "
        "+1.0 / +5.0 / +3.0 by set.",
    ]


def test_the_one_set_of_a_method_that_draws_nothing_stands_beside_each_set(record: Make) -> None:
    random = nested(record, "random", "selection", [0.30, 0.31], [0.32, 0.33])
    herding = record("herding", seeded=False, cells={"mlp": [0.40, 0.42]})
    again = record("herding", seed=1, seeded=False, cells={"mlp": [0.40, 0.42]})
    table = only([*random, herding, again])
    row = next(row for row in table.rows if row.method == "herding")
    assert row.scores["mlp"].runs == {(None, 0): 0.40, (None, 1): 0.42}  # the second record holds the same set
    assert row.by_set(table.panel) == pytest.approx((0.41,))
    gain = table.gain(row)
    assert gain is not None
    assert gain.by_set == pytest.approx({0: 0.105, 1: 0.085})
    assert gain.over_runs.n == 4


def test_a_run_is_one_value_over_all_networks_that_count(record: Make) -> None:
    random = record("random", cells={"mlp": [0.3, 0.3], "vit": [0.1, 0.1]})
    table = only([random, record("dm", kind="synthetic", cells={"mlp": [0.5, 0.6], "vit": [0.2, 0.1]})])
    gain = table.gain(table.rows[0])
    assert gain is not None
    assert (gain.over_runs.n, gain.mean) == (2, pytest.approx(0.15))
    assert gain.over_runs.std == pytest.approx(0.0)


def test_in_an_own_track_a_set_is_held_against_random_images_with_its_very_labels(record: Make) -> None:
    def made(method: str, recipe: str | None, accuracy: float, preset: str = "cpu", track: str = "own") -> list[Record]:
        kind = "selection" if method == "random" else "synthetic"
        fields = {"kind": kind, "label_recipe": recipe, "preset": preset, "track": track, "config": {"labels": recipe}}
        cells = {"convnet-d3": [accuracy, accuracy + 0.01]}
        return [record(method, seed=seed, cells=cells, **fields) for seed in (0, 1)]

    rows = made("random", None, 0.2) + made("random", "a", 0.4, "labels a") + made("cvdd", "a", 0.3)
    table = only(rows + made("infer", "b", 0.5))
    (cvdd,) = (row for row in table.rows if row.method == "cvdd")
    assert table.gain(cvdd).mean == pytest.approx(-0.1)  # type: ignore[union-attr]
    sentences = words.against_random(table)
    assert not any("beats" in sentence for sentence in sentences)
    assert any(sentence.startswith("CVDD does not beat `random`") for sentence in sentences)
    assert any("no `random` with its labels here" in sentence for sentence in sentences)
    # Where a protocol labels every set itself, one row of random images stands beside all.
    common = only(made("random", None, 0.2, track="common-soft") + made("cvdd", "a", 0.3, track="common-soft"))
    (cvdd,) = (row for row in common.rows if row.method == "cvdd")
    assert common.gain(cvdd).mean == pytest.approx(0.1)  # type: ignore[union-attr]
