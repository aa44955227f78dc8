"""Records only grow, and keep every byte that is there."""

from __future__ import annotations

import json
import threading

import pytest

from condense.budget import Budget
from condense.errors import BadInput, DamagedFile
from condense.evaluate import records
from condense.evaluate.parts import BytesRef, Cell, DatasetRef, ProtocolRef, SetRef

ID = "0123456789abcdef" * 4


def a_set(**changes):
    given = {
        "id": ID, "method": "dm", "title": "DM", "kind": "synthetic", "preset": "cpu",
        "config": {"steps": 3, "clip": None}, "seed": 0, "trained_on": "train",
        "preprocessing": "normalise", "labels": "hard", "count": 100,
        "bytes": BytesRef(images=1200, labels=100, extras=0, preprocessing=0),
    }  # fmt: skip
    return SetRef(**(given | changes))


def a_record(cells, *, dataset="digits", digest="d" * 64, **set_changes):
    return records.compose(
        protocol=ProtocolRef(name="quick", version=1, digest=digest, track="common-hard", tier="quick: two cores"),
        dataset=DatasetRef(name=dataset, fingerprint="f" * 64),
        budget=Budget(ipc=10), judged=a_set(**set_changes), cells=cells, command="condense evaluate x --protocol quick",
    )  # fmt: skip


def ok(seeds, accuracy, seconds=()):
    return Cell(status="ok", seeds=seeds, accuracy=accuracy, seconds=seconds or [1.0] * len(seeds), engine="sequential")


def test_a_record_is_found_under_protocol_dataset_budget_and_set(tmp_path):
    path, _ = records.merge(tmp_path, a_record({"mlp": ok([0], [0.5])}, dataset="cifar10[0,3]"))
    assert path == tmp_path / "records/quick-1/cifar10_0_3/ipc-10/dm-s0-01234567.json"
    assert list(records.paths(tmp_path)) == [path]


def test_reading_gives_back_what_was_merged(tmp_path):
    path, written = records.merge(tmp_path, a_record({"mlp": ok([0, 1], [0.5, 0.25]), "vit": failed_for_good(0)}))
    assert records.read(path).to_bytes() == written.to_bytes() == path.read_bytes()


def failed_for_good(seed):
    return Cell(status="failed", failures={str(seed): "loss is nan"}, reason=f"seed {seed}: loss is nan")


def test_a_setting_says_how_much_of_its_preset_was_changed(tmp_path):
    assert a_set(changed=["steps", "clip"]).setting == "cpu, 2 changed"
    assert a_set(changed=[]).setting == a_set().setting == "cpu"
    assert a_set(preset=None, changed=["steps"]).setting == "default, 1 changed"


def test_a_record_that_is_older_than_the_changed_fields_keeps_its_bytes(tmp_path):
    path, _ = records.merge(tmp_path, a_record({"mlp": ok([0], [0.5])}))
    assert "changed" not in json.loads(path.read_bytes())["set"]
    path, _ = records.merge(tmp_path / "new", a_record({"mlp": ok([0], [0.5])}, changed=["steps"]))
    assert records.read(path).set.changed == ("steps",)


def test_a_rerun_leaves_every_byte(tmp_path):
    path, _ = records.merge(tmp_path, a_record({"mlp": ok([0, 1], [0.5, 0.25])}))
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    records.merge(tmp_path, a_record({"mlp": ok([1], [0.75], [9.0])}))  # another number for a seed that is there
    records.merge(tmp_path, a_record({}))
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == stamp


def test_new_seeds_and_networks_are_added_in_order_with_their_times(tmp_path):
    records.merge(tmp_path, a_record({"mlp": ok([2, 5], [0.2, 0.5], [2.0, 5.0])}))
    _, record = records.merge(tmp_path, a_record({"mlp": ok([3], [0.3], [3.0]), "vit": ok([0], [0.1])}))
    assert record.cells["mlp"].seeds == (2, 3, 5)
    assert record.cells["mlp"].accuracy == (0.2, 0.3, 0.5)
    assert record.volatile.cells["mlp"].seconds == (2.0, 3.0, 5.0)
    assert records.done(record) == {("mlp", 2), ("mlp", 3), ("mlp", 5), ("vit", 0)}


def test_one_diverged_seed_fails_the_cell_and_keeps_the_others(tmp_path):
    records.merge(tmp_path, a_record({"mlp": ok([0], [0.5])}))
    _, record = records.merge(tmp_path, a_record({"mlp": failed_for_good(1)}))
    cell = record.cells["mlp"]
    assert (cell.status, cell.seeds, cell.reason) == ("failed", (0,), "seed 1: loss is nan")
    assert records.done(record) == {("mlp", 0), ("mlp", 1)}
    _, record = records.merge(tmp_path, a_record({"mlp": ok([2], [0.5])}))
    assert record.cells["mlp"].status == "failed"


def test_a_failure_of_the_machine_gives_way_to_a_result(tmp_path):
    _, record = records.merge(tmp_path, a_record({"mlp": Cell(status="failed", reason="out of memory")}))
    assert records.done(record) == set()
    _, record = records.merge(tmp_path, a_record({"mlp": ok([0], [0.5])}))
    assert (record.cells["mlp"].status, record.cells["mlp"].reason) == ("ok", None)


def test_a_record_of_another_protocol_or_judge_is_not_mixed_in(tmp_path, monkeypatch):
    path, _ = records.merge(tmp_path, a_record({"mlp": ok([0], [0.5])}))
    before = path.read_bytes()
    with pytest.raises(BadInput, match=r"another protocol .*give another --results folder"):
        records.merge(tmp_path, a_record({"mlp": ok([1], [0.5])}, digest="e" * 64))
    monkeypatch.setattr(records, "JUDGE", 99)
    with pytest.raises(BadInput, match="another judge"):
        records.merge(tmp_path, a_record({"mlp": ok([1], [0.5])}))
    monkeypatch.undo()
    with pytest.raises(BadInput, match="holds set"):
        records.merge(tmp_path, a_record({"mlp": ok([1], [0.5])}, id=ID[:8] + "f" * 56))
    assert path.read_bytes() == before


def test_numbers_of_another_judge_are_no_finished_work(tmp_path, monkeypatch):
    wanted = a_record({})
    assert records.standing(tmp_path, wanted) is None
    _, there = records.merge(tmp_path, a_record({"mlp": ok([0], [0.5])}))
    assert records.standing(tmp_path, wanted).done() == there.done() == {("mlp", 0)}
    monkeypatch.setattr(records, "JUDGE", 99)
    with pytest.raises(BadInput, match="another judge"):
        records.standing(tmp_path, a_record({}))


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    workers = [
        threading.Thread(target=records.merge, args=(tmp_path, a_record({"mlp": ok([seed], [0.5])})))
        for seed in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    (record,) = records.read_all(tmp_path)
    assert record.cells["mlp"].seeds == tuple(range(8))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda plain: plain["cells"]["mlp"].update(accuracy=[1.5]), "cells.mlp: .*fractions"),
        (lambda plain: plain["cells"]["mlp"].update(seeds=[0, 1]), "cells.mlp: .*one per seed"),
        (lambda plain: plain["cells"]["mlp"].update(status="fine"), "cells.mlp.status"),
        (lambda plain: plain.pop("command"), "command: Field required"),
        (lambda plain: plain.update(schema=2), "schema"),
        (lambda plain: plain.update(surprise=1), "surprise"),
        (lambda plain: plain["budget"].update(total=3), "budget: .*exactly one"),
        (lambda plain: plain["budget"].update(foo=3), "budget: .*one of ipc, total or fraction, got"),
        (lambda plain: plain["cells"]["mlp"].update(failures={"abc": "odd"}), "named by seed, found 'abc'"),
        (lambda plain: plain["set"].update(id="not hexadecimal"), "set.id"),
    ],
)
def test_a_file_that_is_no_record_is_refused_by_name(tmp_path, change, named):
    path, _ = records.merge(tmp_path, a_record({"mlp": ok([0], [0.5])}))
    plain = json.loads(path.read_bytes())
    change(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(DamagedFile, match=named) as error:
        records.read(path)
    assert str(path) in str(error.value)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedFile, match="not JSON"):
        records.read(path)


def test_equal_records_are_equal_bytes_with_sorted_keys():
    record = a_record({"vit": Cell(status="n/a", reason="needs soft labels"), "mlp": ok([0], [0.5])})
    plain = json.loads(record.to_bytes())
    assert list(plain) == sorted(plain)
    assert plain["cells"]["vit"] == {"status": "n/a", "reason": "needs soft labels"}
    assert "seconds" not in plain["cells"]["mlp"]
    assert plain["volatile"]["cells"] == {"mlp": {"seconds": [1.0]}}
