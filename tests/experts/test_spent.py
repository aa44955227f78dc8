"""What experts took: noted beside them, charged to every run that uses them, and never in the way of using them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from condense.data import Split
from condense.experts import MTT, ExpertRecipe, experts, kept, spent
from condense.preprocessing import Preprocessing
from condense.run import Run

RECIPE = ExpertRecipe(network="convnet:width=4", lr=MTT.lr, batch=8)


def test_the_seconds_of_a_shorter_need_are_a_part_of_those_of_the_training(tmp_path: Path) -> None:
    expert = tmp_path / "0000.trajectory"
    assert spent.seconds(expert, 5) == 0.0
    spent.note(expert, 0, 4, 8.0)
    spent.note(expert, 4, 6, 1.0)
    assert [spent.seconds(expert, epochs) for epochs in (0, 1, 4, 5, 6, 9)] == [0.0, 2.0, 8.0, 8.5, 9.0, 9.0]


def test_what_is_trained_again_counts_once(tmp_path: Path) -> None:
    expert = tmp_path / "0000.trajectory"
    spent.note(expert, 0, 4, 8.0)
    spent.note(expert, 4, 6, 1.0)
    spent.note(expert, 4, 8, 6.0)  # the last two were damaged
    assert spent.seconds(expert, 8) == 14.0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"spans": [[0, 1]]}', b'{"spans": 3}'])
def test_a_damaged_note_is_no_note(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0000.seconds").write_bytes(content)
    assert spent.seconds(tmp_path / "0000.trajectory", 4) == 0.0


def test_every_run_is_charged_with_the_experts_it_uses_whoever_trained_them(
    train: Split, space: Preprocessing, open_run: Callable[..., Run], tmp_path: Path
) -> None:
    charged = []
    for epochs in (2, 2, 1):
        run = open_run()
        experts(train, space, RECIPE, count=2, epochs=epochs, run=run)
        charged.append(run.shared_seconds)
        assert run.own_seconds < run.elapsed
    assert charged[0] == charged[1]
    assert len(charged[0]) == 2
    assert all(seconds > 0 for seconds in charged[0].values())
    assert charged[2] == {name: pytest.approx(seconds / 2) for name, seconds in charged[0].items()}
    kept.clear(tmp_path / "cache")
    assert not [path for path in kept.root(tmp_path / "cache").rglob("*") if path.suffix in (".seconds", ".trajectory")]
