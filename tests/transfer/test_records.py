"""Transfer records only grow, are checked on the way in, and become tables by pure functions."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from record_cases import KRR, RANDOM, SCRATCH, TEACHER, made

from condense import files
from condense.errors import BadInput, DamagedFile
from condense.evaluate import leaderboard
from condense.evaluate.leaderboard import transfers
from condense.evaluate.parts import Cell
from condense.evaluate.transfer import records, tables
from condense.evaluate.transfer.records import Place, TransferRecord
from condense.evaluate.verify import verify_record


def test_a_record_grows_by_settings_and_seeds_and_keeps_its_numbers(tmp_path: Path) -> None:
    path, _ = records.merge(tmp_path, made(accuracy={"probe@1": [0.5]}))
    assert path == tmp_path / "transfers/transfer-quick-1/digits_0-4/ipc-10" / path.name
    records.merge(tmp_path, made(accuracy={"probe@1": [0.9, 0.7], "fine-tune@1": [0.4]}))
    found = records.read(path)
    assert found.cells["near/mlp/probe@1"].accuracy == (0.5, 0.7)
    assert found.done() == {("near/mlp/probe@1", 0), ("near/mlp/probe@1", 1), ("near/mlp/fine-tune@1", 0)}
    before = path.read_bytes()
    records.merge(tmp_path, made(accuracy={"probe@1": [0.1]}))
    assert path.read_bytes() == before


def test_references_have_a_place_of_their_own(tmp_path: Path) -> None:
    path, _ = records.merge(tmp_path, made("scratch"))
    assert path == tmp_path / "transfers/transfer-quick-1/digits_0-4/scratch.json"
    assert records.read_all(tmp_path) == [records.read(path)]


def test_another_judge_set_or_target_is_refused(tmp_path: Path) -> None:
    records.merge(tmp_path, made("scratch"))
    with pytest.raises(BadInput, match="other data called near"):
        records.merge(tmp_path, made("scratch", fingerprint="u" * 8))
    with pytest.raises(BadInput, match="another judge"):
        records.merge(tmp_path, made("scratch").model_copy(update={"judge": 2}))
    with pytest.raises(BadInput, match="another judge"):
        records.standing(tmp_path, made("scratch").model_copy(update={"judge": 2}))
    assert records.standing(tmp_path, made("scratch")) is not None
    assert records.standing(tmp_path / "elsewhere", made("scratch")) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"set": None}, "a set and its budget"),
        ({"targets": {}}, "fingerprint is not among"),
        ({"cells": {"near/probe@1": {"status": "ok", "seeds": [0], "accuracy": [0.5]}}}, "target/network/setting"),
    ],
)
def test_a_record_that_contradicts_itself_is_damaged(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path, record = records.merge(tmp_path, made())
    files.write_json(path, record.model_dump(mode="json", by_alias=True) | change)
    with pytest.raises(DamagedFile, match=told):
        records.read(path)


def test_a_name_of_a_cell_says_its_place() -> None:
    place = Place("digits+rgb@32", "convnet-d3:norm=batch,width=32", "fine-tune@0.01")
    assert records.place_of(records.name_of(place)) == place


def test_verification_finds_a_moved_record_and_another_protocol(tmp_path: Path) -> None:
    path, _ = records.merge(tmp_path, made())
    assert [problem for problem in verify_record(path) if "digest" in problem]
    moved = tmp_path / "transfers" / "elsewhere.json"
    path.rename(moved)
    assert any("wrong place" in problem for problem in verify_record(moved))


# The methods' seeds share the evaluation seeds 0 and 1 with the references.
AHEAD = [made("krr_st", {"probe@1": found}, seed=seed) for seed, found in enumerate(([0.60, 0.71], [0.562, 0.752]))]


def one_table(*found: TransferRecord) -> tables.TransferTable:
    (table,) = tables.tables(found)
    return table


def test_rows_are_references_then_baselines_then_methods() -> None:
    table = one_table(*KRR, *RANDOM, made("kmeans_teacher"), SCRATCH)
    assert [row.method for row in table.rows] == ["scratch", "random_teacher", "kmeans_teacher", "krr_st"]
    assert table.columns == (("mlp", "fine-tune@1"), ("mlp", "probe@1"))
    assert table.path == "transfer-quick-1/digits_0-4_to_near/ipc-10"


def test_differences_are_paired_by_distillation_and_evaluation_seed() -> None:
    table = one_table(*KRR, *RANDOM, SCRATCH)
    scratch, random, krr = table.rows
    gap = table.difference(krr, random, ("mlp", "probe@1"))
    assert gap is not None
    assert (gap.over_runs.n, gap.mean) == (4, pytest.approx((0.05 + 0.06 + 0.06 + 0.05) / 4))
    gap = table.difference(krr, scratch, ("mlp", "probe@1"))
    assert gap is not None
    assert (gap.over_runs.n, gap.mean) == (4, pytest.approx((0.10 + 0.11 + 0.06 + 0.15) / 4))
    assert gap.by_set == pytest.approx({0: 0.105, 1: 0.105})
    assert table.difference(krr, scratch, ("mlp", "fine-tune@1")) is None


def test_the_baseline_of_a_method_has_the_same_teacher() -> None:
    other = made("random_teacher", config={"teacher": "barlow-twins", "teacher_epochs": 5}, preset="other")
    table = one_table(*KRR, other, *RANDOM)
    krr = table.rows[-1]
    baseline = table.baseline(krr)
    assert baseline is not None
    assert baseline.config["teacher_epochs"] == 20
    assert one_table(*KRR, other).baseline(krr) is None


def test_a_set_of_an_unknown_teacher_has_no_baseline() -> None:
    imported = made("selfsup", config={"layout": "selfsup", "label_form": "vectors"}, preset=None)
    table = one_table(imported, *RANDOM)
    assert table.baseline(table.rows[-1]) is None
    assert not any("SELFSUP against" in claim for claim in transfers.section(table).claims)


def changed(record: TransferRecord, **fields: Any) -> TransferRecord:
    assert record.set is not None
    return record.model_copy(update={"set": record.set.model_copy(update=fields)})


def test_a_set_whose_making_ended_early_is_a_row_of_its_own() -> None:
    stopped = changed(KRR[1], stops={"regress": {"step": 3, "reason": "the time budget of 2 s is used up"}})
    whole, other = one_table(KRR[0], stopped).rows
    assert (whole.seeds, other.seeds) == ((0,), (1,))
    assert other.name == "KRR_ST (cpu, regress stopped at step 3: the time budget of 2 s is used up)"


def test_rows_of_one_method_are_named_by_what_was_changed() -> None:
    configs = ({**TEACHER, "steps": 10}, {**TEACHER, "steps": 99})
    found = [
        changed(made("krr_st", config=config), changed=changes)
        for config, changes in zip(configs, ((), ("steps",)), strict=True)
    ]
    assert [row.name for row in one_table(*found).rows] == ["KRR_ST (cpu)", "KRR_ST (cpu, steps=99)"]


def test_several_sets_of_one_seed_are_told() -> None:
    again = changed(KRR[0], id="ab" * 32)
    table = one_table(KRR[0], again, KRR[1], *RANDOM)
    assert table.rows[-1].repeated == {0: 2}
    caption = transfers.grids(table)[0].caption
    assert "KRR_ST: seed 0 gave 2 different sets, whose mean is one run." in caption
    assert "different sets" not in transfers.grids(one_table(*KRR, *RANDOM))[0].caption


def test_sets_with_labels_have_no_baseline_with_a_teacher_s_features() -> None:
    sees = made("frepo", config={"preprocessing": "normalise"}, labels="soft")
    table = one_table(sees, *RANDOM)
    assert table.baseline(table.rows[-1]) is None
    assert transfers.section(table).claims == (
        "FREPO holds labels of the source and no teacher's features: see fresh weights.",
    )


def test_a_claim_names_the_network_where_there_are_several() -> None:
    on_two = [
        record.with_cells(
            {at.replace("/mlp/", f"/{name}/"): cell for name in ("mlp", "lenet") for at, cell in record.cells.items()}
        )
        for record in (*AHEAD, *RANDOM)
    ]
    (claim,) = transfers.section(one_table(*on_two)).claims
    assert "ahead in 2 of 2 columns (lenet, probe, 100 %; mlp, probe, 100 %)" in claim


def test_a_failed_seed_shows_instead_of_the_mean_of_the_others() -> None:
    failed = Cell(status="failed", seeds=(0,), accuracy=(0.9,), failures={"1": "diverged"}, reason="seed 1: diverged")
    table = one_table(made("krr_st", {"probe@1": failed}), *RANDOM)
    accuracy, *_ = transfers.grids(table)
    cell = accuracy.rows[-1][-1]
    assert (cell.text, accuracy.notes[cell.notes[0] - 1]) == ("failed", "failed: seed 1: diverged")


def test_claims_say_where_a_method_beats_random_images_and_where_it_loses() -> None:
    (claim,) = transfers.section(one_table(*AHEAD, *RANDOM)).claims
    assert claim == (
        "KRR_ST against RANDOM_TEACHER: ahead in 1 of 1 columns (probe, 100 %), behind in 0; paired tests over the "
        "means of 2 distillation seeds and over runs, Holm-corrected over these columns at 5 %."
    )
    (claim,) = transfers.section(one_table(KRR[0])).claims
    assert "the mandatory baseline" in claim
    worse = made("krr_st", {"probe@1": [0.40, 0.51]})
    (claim,) = transfers.section(one_table(worse, *RANDOM)).claims
    assert "behind in 1 (probe, 100 %); paired tests over the runs of one set, which speak of this set" in claim


def test_claims_about_several_columns_are_corrected_together() -> None:
    close = [0.57, 0.66, 0.60, 0.67]  # against 0.55, 0.65, 0.59, 0.66: p = 0.015 of one column
    uses = ("probe@0.01", "probe@0.05", "probe@1", "fine-tune@1")
    random = made("random_teacher", {use: [0.55, 0.65, 0.59, 0.66] for use in uses})
    equal = {use: [0.56, 0.65, 0.59, 0.65] for use in uses[1:]}
    alone = made("krr_st", {"probe@0.01": close})
    (claim,) = transfers.section(one_table(alone, random)).claims
    assert "ahead in 1 of 1 columns (probe, 1 %)" in claim
    (claim,) = transfers.section(one_table(made("krr_st", {"probe@0.01": close, **equal}), random)).claims
    assert "ahead in 0 of 4 columns, behind in 0" in claim


def test_a_table_says_which_sets_saw_labels() -> None:
    (accuracy, *_) = transfers.grids(one_table(*KRR, made("frepo", labels="soft")))
    assert "FREPO saw the labels of the source" in accuracy.caption
    (accuracy, *_) = transfers.grids(one_table(*KRR))
    assert "labels of the source" not in accuracy.caption


def test_every_run_stands_in_the_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(transfers.csv_text(one_table(*KRR, SCRATCH)))))
    assert len(rows) == 4 + 4
    assert rows[-1]["accuracy"] == "0.750000"
    assert {row["distillation seed"] for row in rows if row["method"] == "scratch"} == {""}


def test_records_that_were_measured_differently_are_not_set_side_by_side() -> None:
    with pytest.raises(BadInput, match="different judge"):
        tables.tables([SCRATCH, made().model_copy(update={"judge": 2})])
    with pytest.raises(BadInput, match="target near"):
        tables.tables([SCRATCH, made(fingerprint="u" * 8)])


def test_references_alone_make_no_table() -> None:
    assert tables.tables([SCRATCH]) == []


def test_the_leaderboard_has_a_section_for_transfer_and_checks_it(tmp_path: Path) -> None:
    for record in (*KRR, *RANDOM, SCRATCH):
        records.merge(tmp_path, record)
    written = leaderboard.write(tmp_path)
    home = tmp_path / "leaderboard"
    path = home / "transfer-quick-1/digits_0-4_to_near/ipc-10"
    assert {path.with_suffix(suffix) for suffix in (".md", ".csv", ".tex")} <= set(written)
    assert "Against random images with teacher features" in path.with_suffix(".md").read_text()
    assert "digits[0-4] to near" in (home / "index.html").read_text()
    assert "## Transfer" in (home / "README.md").read_text()
    assert "KRR_ST" in leaderboard.text(tmp_path, 120)
    assert leaderboard.check(tmp_path) == []
    path.with_suffix(".csv").write_text("edited")
    assert str(path.with_suffix(".csv")) in leaderboard.check(tmp_path)[0]
