"""What the trajectory methods cannot do is refused on one line before an expert is trained, which may take days."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from condense.budget import Budget
from condense.data import Split
from condense.errors import BadInput
from condense.method import with_overrides
from condense.methods import ast, datm, ftd, mtt, tesla
from condense.run import Run

METHODS = {"mtt": mtt, "tesla": tesla, "ftd": ftd, "datm": datm, "ast": ast}
WITH_MIRROR = ("mtt", "ftd", "datm")

# method, fields, whether the classes survive a mirror, what is said
REFUSED: list[tuple[str, dict[str, Any], bool, str]] = [
    *[(name, {"engine": "adjoin"}, True, "engine must be 'adjoint' or ") for name in METHODS],
    *[(name, {"step_size": 0.0}, True, "step_size must be positive to be learned, got 0") for name in METHODS],
    *[(name, {"momentum": 1.5}, True, r"momentum must lie in \[0, 1\), got 1.5") for name in METHODS],
    *[(name, {"graph_gibibytes": 1e300}, True, "graph_gibibytes must lie between 0 and") for name in METHODS],
    *[(name, {"network": "convnet:norm=batch"}, True, "a network with batch norm") for name in METHODS],
    *[(name, {"batch": 0}, True, "batch must be a finite number of at least 1") for name in METHODS],
    *[(name, {"mirror": True}, False, "mirror") for name in WITH_MIRROR],
    *[(name, {"mirror": True, "batch": 1}, True, "raise batch to at least 2") for name in WITH_MIRROR],
    *[(name, {"flip_first": True, "augment": False}, True, "flip_first changes an augmen") for name in WITH_MIRROR],
    ("datm", {"first_start": 7, "last_start": 6}, True, "start epochs need 0 <= T- < T <= T+"),
    ("datm", {"lowest_start": 10}, True, "start epochs need 0 <= T- < T <= T+"),
    ("datm", {"momentum_labels": 1.0}, True, r"momentum_labels must lie in \[0, 1\), got 1"),
    ("datm", {"rise": 0}, True, "rise must be a finite number of at least 1"),
    ("ftd", {"ema_decay": 1.0}, True, r"ema_decay must lie in \[0, 1\), got 1"),
    ("ast", {"engine": "tesla"}, True, "engine must be 'adjoint' or 'higher' or 'unroll'"),
    ("ast", {"student_steps": 2, "expert_epochs": 3}, True, "as many steps of the student, got 2"),
    ("ast", {"inner_momentum": 1.0}, True, r"inner_momentum must lie in \[0, 1\), got 1"),
]


class ReachedExperts(Exception):
    """The work that must not begin."""


def _distil(method: ModuleType, fields: dict[str, Any], flips: bool, folder: Path) -> None:
    images = torch.zeros(12, 1, 8, 8, dtype=torch.uint8)
    train = Split.from_arrays(images, torch.arange(12) % 3, ["a", "b", "c"], flips=flips)
    small = {"network": "convnet:width=2", "preprocessing": "normalise"}
    with Run(folder / "run", seed=0, cache_dir=folder / "cache") as run:
        method.distill(train, Budget(ipc=2), with_overrides("it", method.Config(), small | fields), run)


@pytest.fixture(autouse=True)
def without_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    def experts(*arguments: Any, **fields: Any) -> None:
        raise ReachedExperts

    monkeypatch.setattr("condense.trajectories.recipes.experts", experts)


@pytest.mark.parametrize(("name", "fields", "flips", "message"), REFUSED, ids=[f"{n}-{f}" for n, f, *_ in REFUSED])
def test_it_is_refused_before_an_expert_is_trained(
    name: str, fields: dict[str, Any], flips: bool, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        _distil(METHODS[name], fields, flips, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_not_refused_goes_on_to_the_experts(name: str, tmp_path: Path) -> None:
    with pytest.raises(ReachedExperts):
        _distil(METHODS[name], {}, True, tmp_path)


def test_ast_without_matches_on_the_way_needs_no_step_for_each_epoch() -> None:
    assert ast.Config(student_steps=2, expert_epochs=3, intermediate=0.0).student_steps == 2
