"""Nothing is written over but what an earlier save or export left."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from condense import files
from condense.distilled import DistilledSet, load, save
from condense.distilled.formats import export_set
from condense.distilled.replacing import MARK, require_apart
from condense.errors import BadInput

Make = Callable[..., DistilledSet]
FOLDERS = ("pt", "imagefolder", "parquet", "self-contained")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A folder that has nothing to do with sets."""
    folder = tmp_path / "home"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "thesis.txt").write_text("years of work")
    return folder


@pytest.mark.parametrize("layout", FOLDERS)
def test_a_folder_of_others_is_not_replaced(make: Make, strange: Path, layout: str) -> None:
    message = rf"home is not replaced, since it .*({re.escape(MARK)}|set\.json).*; remove it yourself"
    with pytest.raises(BadInput, match=message):
        export_set(layout, make(), strange, replace_existing=True)
    assert content(strange) == {"deep/thesis.txt": b"years of work"}


@pytest.mark.parametrize("layout", FOLDERS)
def test_an_earlier_export_with_a_file_of_others_is_not_replaced(make: Make, layout: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export_set(layout, make(), target)
    (target / "thesis.txt").write_text("years of work")
    before = content(target)
    with pytest.raises(BadInput, match=r"out is not replaced, since it also holds thesis\.txt; remove it yourself"):
        export_set(layout, make(), target, replace_existing=True)
    assert content(target) == before
    (target / "thesis.txt").unlink()
    (target / "link").symlink_to(tmp_path / "absent")
    with pytest.raises(BadInput, match="also holds link"):
        export_set(layout, make(), target, replace_existing=True)


@pytest.mark.parametrize("layout", ["pt", "imagefolder", "parquet"])
def test_a_saved_set_and_an_export_do_not_replace_each_other(make: Make, layout: str, tmp_path: Path) -> None:
    saved = save(make(), tmp_path / "set")
    with pytest.raises(BadInput, match=rf"set is not replaced, since it has no {re.escape(MARK)}"):
        export_set(layout, make(), saved, replace_existing=True)
    assert load(saved).id == make().id
    export_set(layout, make(), tmp_path / "out")
    with pytest.raises(BadInput, match=r"out is not replaced, since it is no sound set \(.*holds no set\.json"):
        save(make(), tmp_path / "out", replace_existing=True)


def test_the_folder_around_sets_is_not_replaced(make: Make, tmp_path: Path) -> None:
    save(make(), tmp_path / "sets" / "a")
    for replace in (
        lambda: save(make(), tmp_path / "sets", replace_existing=True),
        lambda: export_set("self-contained", make(), tmp_path / "sets", replace_existing=True),
    ):
        with pytest.raises(BadInput, match="sets is not replaced"):
            replace()
    assert load(tmp_path / "sets" / "a").id == make().id


def test_a_file_that_appears_during_an_export_is_not_lost(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, write_text = tmp_path / "out", files.write_text

    def write(path: Path, text: str) -> None:
        (target / "thesis.txt").touch()
        write_text(path, text)

    for layout in ("parquet", "self-contained"):
        target = tmp_path / layout
        export_set(layout, make(), target)
        with monkeypatch.context() as patch:
            patch.setattr(files, "write_text", write)
            with pytest.raises(BadInput, match=r"also holds thesis\.txt"):
                export_set(layout, make(), target, replace_existing=True)
        assert (target / "thesis.txt").exists()


def test_only_an_archive_of_an_export_is_replaced(make: Make, tmp_path: Path) -> None:
    theirs, thesis, folder = tmp_path / "theirs.npz", tmp_path / "thesis.txt", tmp_path / "folder"
    np.savez(theirs, images=np.zeros(1), labels=np.zeros(1))
    thesis.write_text("years of work")
    folder.mkdir()
    for target in (theirs, thesis):
        before = target.read_bytes()
        with pytest.raises(BadInput, match="is not replaced, since it is not an archive that an export wrote; remove"):
            export_set("npz", make(), target, replace_existing=True)
        assert target.read_bytes() == before
    with pytest.raises(BadInput, match="folder is a folder where a file should be written"):
        export_set("npz", make(), folder, replace_existing=True)


@pytest.mark.parametrize("mark", ["", "[]", "{}", '{"files": 3}', '{"files": null}'])
def test_a_mark_that_is_no_list_of_files_marks_nothing(make: Make, strange: Path, mark: str) -> None:
    (strange / MARK).write_text(mark)
    with pytest.raises(BadInput, match="home is not replaced"):
        export_set("pt", make(), strange, replace_existing=True)
    assert (strange / "deep" / "thesis.txt").exists()


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    source = tmp_path / "sets" / "a"
    source.mkdir(parents=True)
    (tmp_path / "link").symlink_to(source)
    for target in (source, tmp_path / "sets", tmp_path / "link", source / ".." / "a"):
        with pytest.raises(BadInput, match=r"is, or contains, .*a, which is read; choose another target"):
            require_apart(source, target)
    for target in (tmp_path / "sets" / "ab", source / "inside", tmp_path / "out"):
        require_apart(source, target)
