from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
import torch
from safetensors import safe_open

from condense import disk, files, temporaries, tensor_format
from condense.errors import BadInput, DamagedFile


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"b": 1, "a": 2})
    assert path.read_text() == '{\n "a": 2,\n "b": 1\n}\n'

    def full(handle: object, data: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "write", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_json(path, {"b": 3})
    assert files.read_json(path) == {"b": 1, "a": 2}
    assert os.listdir(tmp_path) == ["a.json"]


def test_json_refuses_numbers_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_damaged_json_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"a\.json: damaged file \(not JSON"):
        files.read_json(tmp_path / "a.json")


def tensors() -> dict[str, torch.Tensor]:
    base = torch.arange(12.0).reshape(3, 4)
    return {
        "transposed": base.t(),
        "base": base,
        "row of it": base[1:2],
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "half": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
        "flags": torch.tensor([True, False, True]),
        "wide": torch.tensor([2**60]),
    }


def test_tensors_come_back_and_the_library_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    files.write_tensors(path, tensors(), {"b": "1", "a": "é"})
    torch.testing.assert_close(files.read_tensors(path), tensors(), rtol=0, atol=0, equal_nan=True)
    assert files.read_metadata(path) == {"a": "é", "b": "1"}
    with safe_open(path, framework="numpy") as handle:
        assert set(handle.keys()) == set(tensors())


def test_equal_tensors_are_equal_bytes_in_every_process(tmp_path: Path) -> None:
    files.write_tensors(tmp_path / "a", tensors(), {str(index): "x" for index in range(9)})
    files.write_tensors(tmp_path / "b", dict(reversed(tensors().items())), {str(index): "x" for index in range(9)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    header = (tmp_path / "a").read_bytes()[8:]
    assert list(json.loads(header[: header.index(b"}}") + 2])["__metadata__"]) == sorted("012345678")


def test_every_tensor_is_aligned_to_its_elements(tmp_path: Path) -> None:
    files.write_tensors(tmp_path / "a", tensors())
    data = (tmp_path / "a").read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    for name, facts in json.loads(data[8 : 8 + length]).items():
        assert facts["data_offsets"][0] % tensors()[name].element_size() == 0


def test_a_dtype_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"tensor 'x' has dtype torch\.complex64, which safetensors lacks; convert it"):
        files.write_tensors(tmp_path / "a", {"x": torch.zeros(1, dtype=torch.complex64)})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("cut", [0, 4, 30, -1])
def test_truncated_tensors_are_refused_by_name(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.safetensors"
    files.write_tensors(path, {"x": torch.zeros(5)})
    path.write_bytes(path.read_bytes()[:cut])
    for read in (files.read_tensors, files.read_metadata):
        with pytest.raises(DamagedFile, match=r"a\.safetensors: damaged file"):
            read(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        files.read_tensors(tmp_path / "gone")
    with pytest.raises(IsADirectoryError, match="is a folder where a file was expected"):
        files.read_tensors(tmp_path)


def test_the_checksum_sees_names_dtypes_shapes_and_elements() -> None:
    base = {"x": torch.zeros(2, 2), "y": torch.ones(1)}
    variants = [
        {"x": torch.zeros(2, 2), "z": torch.ones(1)},
        {"x": torch.zeros(4), "y": torch.ones(1)},
        {"x": torch.zeros(2, 2, dtype=torch.int32), "y": torch.ones(1)},
        {"x": torch.zeros(2, 2), "y": torch.zeros(1)},
    ]
    assert tensor_format.checksum(dict(reversed(base.items()))) == tensor_format.checksum(base)
    assert len({tensor_format.checksum(variant) for variant in [base, *variants]}) == 5


def test_a_staged_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "set"
    with pytest.raises(RuntimeError), files.staged_directory(target) as folder:
        files.write_text(folder / "a.txt", "a")
        assert not target.exists()
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    with files.staged_directory(target) as folder:
        files.write_text(folder / "a.txt", "a")
    with pytest.raises(BadInput, match="set exists and is not empty; remove it or choose another place"):
        files.staged_directory(target).__enter__()
    with files.staged_directory(target, replace_existing=True) as folder:
        files.write_text(folder / "b.txt", "b")
    assert os.listdir(target) == ["b.txt"]
    assert os.listdir(tmp_path) == ["set"]
    files.write_text(tmp_path / "file", "")
    with pytest.raises(BadInput, match="file is a file where a folder should be written"):
        files.staged_directory(tmp_path / "file").__enter__()


def test_temporaries_of_dead_processes_are_swept_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    script = (
        "import os; from condense import disk, files\n"
        "disk.fsync = lambda path: os._exit(1)\n"
        f"files.write_text({str(tmp_path / 'a.txt')!r}, 'half')"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".tmp-")
    living = left.replace(left.split("-")[2], str(os.getppid()))
    (tmp_path / living).touch()
    files.write_text(tmp_path / "b.txt", "b")
    assert sorted(os.listdir(tmp_path)) == sorted([living, "b.txt"])


def abandoned(folder: Path, name: str, host: str | None = None) -> Path:
    """A temporary of a process that is dead, or of another host."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return folder / f".tmp-{host or temporaries._HOST}-{process.pid}-01234567-{name}"


@pytest.mark.parametrize("host", [None, "0a1b2c"])
def test_sweepers_of_one_folder_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str | None
) -> None:
    left = abandoned(tmp_path, "a.txt", host)
    left.touch()
    os.utime(left, (0, 0))
    is_abandoned = temporaries._is_abandoned

    def after_another_sweeper(path: Path, of: str, process: int) -> bool:
        path.unlink()
        return is_abandoned(path, of, process)

    monkeypatch.setattr(temporaries, "_is_abandoned", after_another_sweeper)
    files.write_text(tmp_path / "b.txt", "b")
    assert os.listdir(tmp_path) == ["b.txt"]


def test_a_folder_that_another_sweeper_removes_meanwhile_fails_no_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = abandoned(tmp_path, "set")
    left.mkdir()
    remove_tree = disk.remove_tree

    def second(path: Path) -> None:
        remove_tree(path)
        remove_tree(path)

    monkeypatch.setattr(disk, "remove_tree", second)
    files.write_text(tmp_path / "b.txt", "b")
    assert os.listdir(tmp_path) == ["b.txt"]


def test_what_cannot_be_swept_hinders_no_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abandoned(tmp_path, "a.txt").touch()

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(disk, "unlink", refuse)
    files.write_text(tmp_path / "b.txt", "b")
    assert (tmp_path / "b.txt").read_text() == "b"


def replaced(target: Path, name: str) -> None:
    """Writes a folder with one file, over what is there."""
    with files.staged_directory(target, replace_existing=True) as folder:
        files.write_text(folder / name, name)


def test_folders_are_exchanged_in_one_step_where_the_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        files.write_text(tmp_path / name / "is.txt", name)
    if not disk.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system exchanges no names")
    assert [(tmp_path / name / "is.txt").read_text() for name in ("a", "b")] == ["b", "a"]
    assert not disk.exchange(tmp_path / "a", tmp_path / "absent")
    monkeypatch.setattr(disk, "rename", None)  # not needed
    replaced(tmp_path / "a", "new.txt")
    assert os.listdir(tmp_path / "a") == ["new.txt"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_folder_whose_replacing_fails_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, rename, calls = tmp_path / ("set" * 80), disk.rename, []
    replaced(target, "old.txt")

    def second_fails(source: Path, to: Path) -> None:
        calls.append(to)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, to)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "exchange", lambda source, to: False, raising=False)
        patch.setattr(disk, "rename", second_fails)
        with pytest.raises(OSError, match="Input/output error"):
            replaced(target, "new.txt")
    assert os.listdir(tmp_path) == [target.name]
    assert os.listdir(target) == ["old.txt"]
    monkeypatch.setattr(disk, "exchange", lambda source, to: False, raising=False)
    replaced(target, "new.txt")
    assert os.listdir(tmp_path) == [target.name]
    assert os.listdir(target) == ["new.txt"]


@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_a_folder_survives_the_death_of_the_process_that_replaces_it(tmp_path: Path, renames: int) -> None:
    target = tmp_path / "set"
    replaced(target, "old.txt")
    script = (
        "import os; from pathlib import Path; from condense import disk, files\n"
        "rename, remove_tree, done = disk.rename, disk.remove_tree, []\n"
        "def dies(source, target):\n"
        f"    if len(done) == {renames}: os._exit(1)\n"
        "    done.append(target); rename(source, target)\n"
        "disk.exchange, disk.rename, disk.remove_tree = lambda source, target: False, dies, lambda path: os._exit(1)\n"
        f"with files.staged_directory({str(target)!r}, replace_existing=True) as folder:\n"
        "    files.write_text(folder / 'new.txt', '')"
    )
    died = subprocess.run([sys.executable, "-c", script], check=False)
    assert died.returncode == 1
    files.sweep(tmp_path)
    assert os.listdir(tmp_path) == ["set"]
    assert os.listdir(target) == (["old.txt"] if renames < 2 else ["new.txt"])


def test_an_old_folder_that_is_half_removed_does_not_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "set"
    replaced(target, "old.txt")

    def half(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "exchange", lambda source, to: False)
        patch.setattr(disk, "remove_tree", half)
        replaced(target, "new.txt")
    files.discard(target)
    files.sweep(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_folder_put_aside_is_back_before_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aside = Path(str(abandoned(tmp_path, "")).replace(".tmp-", ".old-").removesuffix("-"))
    files.write_text(aside / "set" / "old.txt", "")
    monkeypatch.setattr(temporaries, "_swept", set())
    with pytest.raises(BadInput, match="set exists and is not empty"):
        files.staged_directory(tmp_path / "set").__enter__()
    assert os.listdir(tmp_path) == ["set"]
    assert files.intended(f"{tmp_path}/{aside.name}/set") == f"{tmp_path}/set"


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a full folder"])
def test_a_folder_is_written_where_a_symbolic_link_points(tmp_path: Path, there: str) -> None:
    link, place = tmp_path / "link", tmp_path / "elsewhere" / "set"
    link.symlink_to(place)
    if there != "nothing":
        place.mkdir(parents=True)
    if there == "a full folder":
        (place / "old.txt").touch()
    with files.staged_directory(link, replace_existing=True) as folder:
        files.write_text(folder / "a.txt", "a")
    assert link.is_symlink()
    assert os.listdir(place) == ["a.txt"]
    assert os.listdir(place.parent) == ["set"]
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "link"]


def test_a_file_is_written_where_a_symbolic_link_points(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "a.txt")
    for text in ("first", "second"):
        files.write_text(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "elsewhere" / "a.txt").read_text() == text


def test_a_link_to_a_file_or_to_itself_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "to a file").symlink_to(tmp_path / "file")
    (tmp_path / "to itself").symlink_to(tmp_path / "to itself")
    for name in ("to a file", "to itself"):
        with pytest.raises(BadInput, match=f"{name} is a file where a folder should be written"):
            files.require_replaceable(tmp_path / name, True)


@pytest.mark.parametrize("points_to", ["folder", "nothing"])
@pytest.mark.parametrize("host", [None, "0a1b2c"])
def test_an_abandoned_link_is_swept_and_what_it_points_to_stays(
    tmp_path: Path, points_to: str, host: str | None
) -> None:
    kept = tmp_path / "folder" / "kept.txt"
    files.write_text(kept, "")
    left = abandoned(tmp_path, "link", host)
    left.symlink_to(tmp_path / points_to)
    os.utime(left, (0, 0), follow_symlinks=False)
    files.sweep(tmp_path)
    assert os.listdir(tmp_path) == ["folder"]
    assert kept.exists()


def test_a_lock_keeps_others_out_and_dies_with_its_holder(tmp_path: Path) -> None:
    script = (
        "import sys, time; from condense import files\n"
        f"with files.lock({str(tmp_path / 'place')!r}):\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(files.InUse, match="place is in use by another process; wait until that ends"):
            files.lock(tmp_path / "place", timeout=0).__enter__()
        holder.kill()
        holder.wait()
    with files.lock(tmp_path / "place", timeout=5):
        pass


def test_names_become_parts_of_paths() -> None:
    assert files.safe_name("cifar10[0-4]+rgb@32") == "cifar10_0-4_+rgb@32"
    assert files.safe_name("../etc") == "etc"
    assert files.safe_name("..") == "_"


def test_discard_takes_files_folders_and_nothing(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b.txt", "b")
    files.discard(tmp_path / "a")
    files.write_text(tmp_path / "c", "c")
    files.discard(tmp_path / "c")
    files.discard(tmp_path / "c")
    assert os.listdir(tmp_path) == []


def test_a_copied_file_has_the_same_bytes(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "a", b"content")
    files.copy_file(tmp_path / "a", tmp_path / "new" / "b")
    assert files.sha256(tmp_path / "a") == files.sha256(tmp_path / "new" / "b")


def test_appended_bytes_follow_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log"
    files.append(path, [b"one", memoryview(b"two")])
    files.append(path, [b"three"])
    assert path.read_bytes() == b"onetwothree"
    files.cut(path, 6)
    assert path.read_bytes() == b"onetwo"
    assert os.listdir(path.parent) == ["log"]


def test_an_append_that_fails_leaves_what_was_there_in_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    files.append(path, [b"one"])
    write = disk.write

    def full(handle: IO[bytes], data: bytes) -> None:
        if data == b"three":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(handle, data)

    monkeypatch.setattr(disk, "write", full)
    with pytest.raises(OSError, match="No space left"):
        files.append(path, [b"two", b"three"])
    assert path.read_bytes() == b"onetwo"


def test_a_full_disk_is_told_with_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: IO[bytes], data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "write", full)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_text(tmp_path / "set.json", "text")
    assert caught.value.filename == str(tmp_path / "set.json")
    assert list(tmp_path.iterdir()) == []
