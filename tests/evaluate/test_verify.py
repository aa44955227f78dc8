"""verify_record finds what can be known without judging again."""

from __future__ import annotations

import json

import pytest

from condense.budget import Budget
from condense.evaluate import protocols, records
from condense.evaluate.parts import BytesRef, Cell, DatasetRef, SetRef
from condense.evaluate.verify import verify_record


@pytest.fixture
def path(tmp_path):
    judged = SetRef(
        id="ab" * 32,
        method="random",
        title="Random",
        kind="selection",
        preset="cpu",
        config={},
        seed=0,
        trained_on="train",
        preprocessing="normalise",
        labels="hard",
        count=100,
        bytes=BytesRef(images=6400, labels=100, extras=0, preprocessing=0),
    )
    record = records.compose(
        protocol=protocols.load("quick").reference(),
        dataset=DatasetRef(name="digits", fingerprint="f" * 64),
        budget=Budget(ipc=10),
        judged=judged,
        cells={"mlp": Cell(status="ok", seeds=[0, 1], accuracy=[0.9, 0.8], seconds=[1.0, 2.0], engine="sequential")},
        command="condense evaluate runs/sets/x --protocol quick",
    )
    return records.merge(tmp_path, record)[0]


def test_a_record_as_written_has_no_problem(path):
    assert verify_record(path) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda r: r["protocol"].update(digest="0" * 64), "digest of protocol quick-1"),
        (lambda r: r["protocol"].update(tier="full"), "tier of protocol quick-1"),
        (lambda r: r["protocol"].update(version=99), "not one that ships"),
        (lambda r: r.update(judge=99), "judge 99"),
        (lambda r: r["set"].update(count=105), "no multiple"),
        (lambda r: r["set"].update(seed=3), "lies in the wrong place"),
        (lambda r: r.update(budget={"total": 7}), "budget of 7"),
        (lambda r: r["cells"]["mlp"]["seeds"].pop(), "one per seed"),
        (lambda r: r["cells"]["mlp"]["accuracy"].__setitem__(0, 90.0), "fractions"),
        (lambda r: r["volatile"]["cells"]["mlp"]["seconds"].pop(), "another number of times"),
        (lambda r: r["volatile"]["cells"].update(vit={"seconds": [1.0]}), "times of network vit"),
        (lambda r: r["cells"].update(vit={"status": "n/a"}), "needs a reason"),
        (lambda r: r.pop("set"), "set: Field required"),
    ],
)
def test_what_was_changed_by_hand_is_named(path, change, problem):
    plain = json.loads(path.read_bytes())
    change(plain)
    path.write_text(json.dumps(plain))
    found = verify_record(path)
    assert any(problem in each for each in found), found
    assert all(str(path) in each for each in found)


def test_a_missing_or_truncated_file_is_a_problem_not_a_crash(path, tmp_path):
    assert "No such file" in verify_record(tmp_path / "absent.json")[0]
    path.write_bytes(path.read_bytes()[:100])
    assert "not JSON" in verify_record(path)[0]
