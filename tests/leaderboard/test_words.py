"""What is said of a table: which rows it lacks."""

from __future__ import annotations

from collections.abc import Callable

from condense.evaluate.leaderboard import board, words
from condense.evaluate.records import Record


def test_words_tell_which_soft_labels_have_no_real_patches_beside_them(record: Callable[..., Record]) -> None:
    def sentences(*rows: tuple[str, str | None], track: str = "own") -> list[str]:
        kinds = {"random": "selection"}
        made = [
            record(method, kind=kinds.get(method, "synthetic"), label_recipe=labels, track=track, config={"by": labels})
            for method, labels in rows
        ]
        (table,) = board.tables(made)
        return [each for each in words.against_random(table) if "rded" in each]

    nowhere = ["No row of `rded` here, so how far patches of real images come with soft labels is open."]
    assert sentences(("random", "a"), ("cvdd", "a")) == sentences(("cvdd", "a")) == nowhere
    assert sentences(("random", "a"), ("rded", "b"), ("cvdd", "a")) == [
        "CVDD: no `rded` with its labels here, so how far patches of real images come with them is open."
    ]
    assert sentences(("rded", None), ("cvdd", "a"), ("infer", "b"), ("dm", None)) == [
        "CVDD, INFER: no `rded` with their labels here, so how far patches of real images come with them is open."
    ]
    assert sentences(("random", "a"), ("rded", "a"), ("cvdd", "a"), ("datm", None)) == []
    # A protocol that labels every set itself needs one row of them, one with hard labels none.
    assert sentences(("random", None), ("dm", None), track="common-soft") == nowhere
    assert sentences(("random", None), ("dm", None), ("rded", "a"), track="common-soft") == []
    assert sentences(("random", None), ("dm", None), track="common-hard") == []
