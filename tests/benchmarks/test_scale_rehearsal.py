"""The rehearsal of ImageNet's scale at a size of seconds, in one process: its arithmetic, its stages, its refusals."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from condense import files

TINY = {"classes": 4, "ipc": 2, "epochs": 4, "threads": 1}


class Interrupted:
    """In the place of a process that is killed: labels in this one, until half of the epochs are written."""

    def __init__(self, words: list[str], **options: Any):
        assert words[words.index("--stage") + 1] == "labels"
        script = sys.modules["scale_rehearsal"]
        kept, self._asked = files.write_tensors, 0

        def failing(path: Path, *rest: Any) -> None:
            if Path(path).parent.name == "labels" and len(script.shards()) == TINY["epochs"] // 2:
                raise KeyboardInterrupt
            kept(path, *rest)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(files, "write_tensors", failing)
            script.labels(argparse.Namespace(**TINY))

    def poll(self) -> None:
        return None

    def send_signal(self, number: int) -> None:
        pass

    def wait(self) -> None:
        pass


@pytest.fixture
def script(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    found = importlib.import_module("scale_rehearsal")
    monkeypatch.setattr(found, "SIDE", 8)
    monkeypatch.setattr(found, "UPDATES", 60)
    monkeypatch.setattr(found, "NETWORK", "convnet-d1:norm=batch,width=4")
    monkeypatch.setattr(found, "subprocess", SimpleNamespace(Popen=Interrupted, DEVNULL=None))

    def recover(source: Any, teacher: str, ipc: int, threads: int, out: str) -> dict[str, Any]:
        found.recovery_at_scale._work(source, teacher, ipc, threads, out)  # by one worker, in this process
        return {"workers_peak_bytes": 0}

    monkeypatch.setattr(found.recovery_at_scale, "recover", recover)

    def in_process(stage: str, given: argparse.Namespace, place: Path) -> dict[str, Any]:
        monkeypatch.chdir(place)
        facts: dict[str, Any] = found.measured(found.STAGES[stage], given)
        monkeypatch.chdir(tmp_path)
        return facts

    monkeypatch.setattr(found, "in_process", in_process)
    return found


def test_the_whole_size_writes_more_than_may_be_in_memory(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    def stop(folder: Path, needed: int) -> None:
        assert needed == 1000 * 10 * 300 * 1000 * 2 > script.LIMIT
        raise Stop

    monkeypatch.setattr(script, "require_room", stop)
    monkeypatch.setattr(script, "imagenet", dict)
    monkeypatch.setattr(script.recovery_at_scale, "expected", dict)
    monkeypatch.setattr(sys, "argv", ["scale_rehearsal.py"])
    with pytest.raises(Stop):
        script.main()


def test_estimates_far_from_what_is_published_are_refused(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = script.recovery_at_scale
    found = scale.expected()
    assert 0.7 <= found["recovery_memory_bytes"] / found["recovery_memory_bytes_published"] <= 1.1
    for name, value, message in (
        ("PUBLISHED_BYTES", 20e9, r"memory is 0\.22 times the published one"),
        ("PUBLISHED_SECONDS", 0.1, "of the card's peak; it is wrong"),
    ):
        with monkeypatch.context() as patch, pytest.raises(SystemExit, match=message):
            patch.setattr(scale, name, value)
            scale.expected()


def test_a_full_disk_is_told_before_any_work(script: ModuleType, tmp_path: Path) -> None:
    script.require_room(tmp_path, 1000)
    with pytest.raises(SystemExit, match=r"labels of 1000000000\.0 GB need more than"):
        script.require_room(tmp_path, 10**18)


@pytest.mark.parametrize(("ipc", "images"), [(1, 5), (10, 10)])
def test_a_class_has_as_many_images_as_are_recovered(ipc: int, images: int, script: ModuleType, tmp_path: Path) -> None:
    script.write_images(tmp_path, argparse.Namespace(classes=2, ipc=ipc))
    counts = [len(list(folder.iterdir())) for folder in sorted((tmp_path / "train").iterdir())]
    assert counts == [images, images]


def test_all_stages_go_through(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--{name}={value}" for name, value in TINY.items()]
    monkeypatch.setattr(sys, "argv", ["scale_rehearsal.py", *words, f"--out={tmp_path / 'found.json'}"])
    script.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found["stages"]) == sorted(script.STAGES)
    assert found["stages"]["labels"]["label_bytes"] == 4 * 2 * 4 * 4 * 2 + 8  # and the class of each image
    assert found["stages"]["resume"] | {"seconds": 0, "peak_bytes": 0} == {
        "files_compared": 1 + 4,
        "epochs_before_the_kill": 2,
        "seconds": 0,
        "peak_bytes": 0,
    }
    assert "a trial: all labels would fit into the limit" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-1] + bytes([content[-1] ^ 1]), lambda content: content + b" "],
    ids=["a-bit", "a-byte-more"],
)
def test_labels_of_another_content_are_told(
    damage: Callable[[bytes], bytes], script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = argparse.Namespace(**TINY)
    script.write_images(Path("images"), given)
    for stage in ("teacher", "recover", "labels"):
        script.STAGES[stage](given)
    path = Path("labelled/labels/epoch-0003.safetensors")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SystemExit, match=r"differ from the unbroken ones: labels/epoch-0003\.safetensors"):
        script.resume(given)
