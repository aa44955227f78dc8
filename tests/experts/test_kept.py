from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from condense import files
from condense.cli import main
from condense.data import Split
from condense.experts import ExpertRecipe, Experts, experts, kept
from condense.preprocessing import Preprocessing
from condense.run import Run


@pytest.fixture
def pool(train: Split, space: Preprocessing, open_run: Callable[..., Run]) -> Experts:
    recipe = ExpertRecipe(network="convnet:width=4", batch=8)
    return experts(train, space, recipe, count=2, epochs=1, run=open_run())


def test_kept_experts_are_listed_verified_and_cleared(
    pool: Experts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--cache-dir", str(tmp_path / "cache")]
    assert main(["cache", "list", *where]) == 0
    assert pool.folder.name[:16] in capsys.readouterr().out
    assert main(["cache", "verify", *where]) == 0
    damaged = pool.folder / "0001.trajectory"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    capsys.readouterr()
    assert main(["cache", "verify", *where]) == 1
    assert capsys.readouterr().out.startswith(f"{damaged}: damaged file (the record at byte ")
    assert main(["cache", "clear", *where]) == 0
    assert kept.entries(tmp_path / "cache") == []
    assert main(["cache", "verify", *where]) == 0


def test_experts_in_training_are_left_alone(pool: Experts, tmp_path: Path) -> None:
    (pool.folder / "0.work").mkdir()
    (pool.folder / "1.work").mkdir()
    size = sum((pool.folder / f"0001.{kind}").stat().st_size for kind in ("trajectory", "seconds"))
    with files.lock(pool.folder / "0000.trajectory"):
        assert kept.clear(tmp_path / "cache") == size
    left = {path.name for path in pool.folder.iterdir() if path.suffix != ".lock"}
    assert left == {"0000.trajectory", "0000.seconds", "0.work"}


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in ("mine/0000.trajectory", "mine/notes.work", f"{'0' * 32}/notes.trajectory", f"{'0' * 32}/my.work"):
        place = tmp_path / "experts" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"mine")
    assert (kept.entries(tmp_path), kept.verify(tmp_path), kept.clear(tmp_path)) == ([], [], 0)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 4


def test_an_empty_cache_holds_no_experts(tmp_path: Path) -> None:
    assert (kept.entries(tmp_path), kept.verify(tmp_path), kept.clear(tmp_path)) == ([], [], 0)
