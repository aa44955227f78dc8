"""`condense transfer` on real digits, as a person would use it; representation targets from end to end."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from condense import api, distilled
from condense.budget import Budget
from condense.cli import main
from condense.distilled.reader import read
from condense.errors import BadInput
from condense.evaluate.transfer import records
from condense.evaluate.transfer.protocol import TransferProtocol

TINY = [
    "--set", "teacher_network=convnet-d1:norm=batch,width=4", "--set", "teacher_epochs=1",
    "--set", "teacher_projector=4",
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A working folder, and in it a set of ten random digits with features of a tiny teacher."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("CONDENSE_CACHE", str(home / "cache"))
        words = ["distill", "random_teacher", "--dataset", "digits[0-4]", "--total", "10", "--preset", "cpu", *TINY]
        assert main([*words, "--quiet"]) == 0
    return home, next((home / "runs/sets").iterdir()).name


@pytest.fixture
def home(made: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made[0])
    monkeypatch.setenv("CONDENSE_CACHE", str(made[0] / "cache"))
    return made[0]


@pytest.fixture
def protocol(make_protocol, home: Path) -> str:
    """The path of a tiny protocol for 8x8 pixels."""
    tiny: TransferProtocol = make_protocol(name="transfer-journey", seeds=1, shares=[0.05], probe=True)
    path = home / "transfer-journey-1.json"
    path.write_text(json.dumps(tiny.model_dump(mode="json", by_alias=True)))
    return str(path)


def said(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    assert main(list(words)) == code, capsys.readouterr().err
    return capsys.readouterr().out


def test_a_set_is_judged_on_several_targets_beside_baselines_and_references(
    made: tuple[Path, str], protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures(made[0] / "photos")
    words = ["transfer", made[1], "--targets", "digits[5-9]", folder, "--protocol", protocol, "--quiet"]
    lines = [line.split("\t") for line in said(capsys, 0, *words).splitlines()]
    starts = ["scratch", "self-supervised", "random_teacher-s0"]
    assert [line[0] for line in lines] == [start for start in starts for _ in range(4)]
    assert {line[1] for line in lines} == {"digits[5-9]", "photos@8"}
    assert all(0 <= float(line[4]) <= 100 for line in lines)
    before = {path: path.read_bytes() for path in Path("runs/results/transfers").rglob("*.json")}
    said(capsys, 0, *words)
    assert {path: path.read_bytes() for path in Path("runs/results/transfers").rglob("*.json")} == before
    assert "From scratch" in said(capsys, 0, "leaderboard", "--results", "runs/results")
    assert said(capsys, 0, "leaderboard", "--results", "runs/results", "--check") == ""


def pictures(folder: Path) -> str:
    """A folder of grey pictures of 10x10 pixels, two classes: dark and bright."""
    for split, count in (("train", 20), ("test", 4)):
        for name, level in (("dark", 60), ("bright", 190)):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                pixels = np.random.default_rng(index).integers(level - 40, level + 40, (10, 10)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index}.png")
    return str(folder)


def test_a_method_s_baselines_share_its_teacher(made: tuple[Path, str], home: Path, protocol: str) -> None:
    judged = api.load(made[1])
    pretend = {**judged.provenance, "method": "learned", "config": {**judged.provenance["config"], "steps": 3}}
    distilled.save(dataclasses.replace(judged, provenance=pretend), home / "learned")
    report = api.transfer([home / "learned"], ["digits[5-9]"], protocol, references=False, results=home / "apart")
    found = [records.read(path) for path in report.records]
    assert [record.set.method for record in found if record.set] == ["random_teacher", "kmeans_teacher", "learned"]
    settings = [record.set.config for record in found if record.set]
    teachers = [{name: value for name, value in config.items() if "teacher" in name} for config in settings]
    assert teachers[0] == teachers[1] == teachers[2]
    assert report.failures == []


def test_baselines_of_a_teacher_from_a_file_need_to_know_where_it_lies(home: Path, protocol: str) -> None:
    """A set names such a teacher by what its file holds; that is checked before anything is distilled."""
    given = dict(word.split("=", 1) for word in TINY[1::2])
    weights = home / "elsewhere" / "teacher.safetensors"
    weights.parent.mkdir()
    teacher = api.gate("krr_st", "digits[0-4]", preset="cpu", overrides=given, weights=weights).weights
    short = {"teacher": teacher, "steps": 2, "inner_steps": 2, "pool": 1}
    judged = api.distill("krr_st", "digits[0-4]", budget=Budget(total=10), preset="cpu", overrides=short)
    options = {"references": False, "results": home / "from-file"}
    other = home / "other.safetensors"
    other.write_bytes(weights.read_bytes() + b" ")
    for wrong, said in (
        (None, "none"),
        (f"{teacher.partition('@')[0]}@{other}", r".*@other.safetensors \(sha256 .*\)"),
    ):
        told = rf"need its teacher .*@teacher.safetensors \(sha256 .*\), and {said} was given; name its file by --teach"
        with pytest.raises(BadInput, match=told):
            api.transfer([judged], ["digits[5-9]"], protocol, teacher=wrong, **options)
    with pytest.raises(BadInput, match=r"no baseline of these sets needs the teacher .*leave --teacher out"):
        api.transfer([judged], ["digits[5-9]"], protocol, teacher=teacher, baselines=False, **options)
    assert not (home / "from-file").exists()
    report = api.transfer([judged], ["digits[5-9]"], protocol, teacher=teacher, **options)
    found = [records.read(path).set for path in report.records]
    assert [each.method for each in found if each] == ["random_teacher", "kmeans_teacher", "krr_st"]
    assert len({each.config["teacher"] for each in found if each}) == 1
    assert report.failures == []


def test_the_references_of_a_source_can_be_judged_on_their_own(home: Path, protocol: str) -> None:
    report = api.transfer([], ["digits[5-9]"], protocol, dataset="digits[0-4]", results=home / "alone")
    assert [path.stem for path in report.records] == ["scratch", "self-supervised"]
    assert all(cell.status == "ok" for path in report.records for cell in records.read(path).cells.values())


def test_the_ordinary_judge_names_the_command(
    made: tuple[Path, str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = said(capsys, 0, "evaluate", made[1], "--protocol", "quick", "--networks", "mlp", "--quiet")
    assert "n/a" in line
    assert "`condense transfer SET --targets DATASET`" in line
    assert main(["evaluate", made[1], "--protocol", "transfer-quick", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert f"condense transfer {made[1]} --targets DATASET --protocol transfer-quick" in error


def test_targets_are_required_and_checked(
    made: tuple[Path, str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transfer", made[1]]) == 2
    assert "--targets" in capsys.readouterr().err
    assert main(["transfer", made[1], "--targets", "digits+rgb", "--quiet"]) == 2
    assert "distil the source in colour" in capsys.readouterr().err


def test_representations_stand_in_the_card_the_bytes_and_the_reader(
    made: tuple[Path, str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = api.load(made[1])
    arrays, about = read(home / "runs/sets" / made[1])
    assert arrays["targets_repr"].shape == (10, 64)
    assert about["bytes"]["labels"] == loaded.bytes().labels == 4 * 10 * 64
    card = said(capsys, 0, "card", made[1])
    assert "a target vector of 64 numbers" in card
    assert "image-feature-extraction" in card
    image, target = loaded.as_dataset()[3]
    assert (image.shape, target.shape) == ((1, 8, 8), (64,))


def test_transfer_protocols_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(said(capsys, 0, "list", "protocols", "--json"))
    assert {"transfer", "transfer-quick"} <= {facts["name"] for facts in listed if facts["track"] == "transfer"}
