"""A trajectory method that dies while it trains experts, or between them and the outer loop, ends in the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.experts.trainer import Trainer
from condense.methods import ast, datm, ftd
from condense.run import Run
from condense.trajectories import Descent

SHORT: dict[str, Any] = {
    "steps": 4,
    "student_steps": 3,
    "expert_epochs": 2,
    "batch": 4,
    "experts": 2,
    "expert_batch": 12,
    "network": "convnet:width=2",
    "preprocessing": "normalise",
    "epochs": 3,
}
CONFIGS: dict[str, tuple[ModuleType, Any]] = {
    "ftd": (ftd, ftd.Config(**{name: value for name, value in SHORT.items() if name != "epochs"}, start_epochs=2)),
    "datm": (datm, datm.Config(**SHORT, first_start=1, last_start=2, rise=3)),
    "ast": (ast, ast.Config(**SHORT, start_epochs=2)),
}
DEATHS: dict[str, tuple[type, int]] = {  # what dies, and after how many of its steps
    "in the second epoch of the first expert": (Trainer, 3),
    "in the second expert": (Trainer, 8),
    "before the outer loop": (Descent, 0),
    "in the outer loop": (Descent, 2),
}
STEPS = {Trainer: 2 * 3 * 2, Descent: SHORT["steps"]}  # of two experts of three epochs, and of the outer loop


class Death(BaseException):
    """Stands for a kill: no handler may catch it."""


@pytest.fixture(scope="module")
def train() -> Split:
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (24, 1, 8, 8), generator=draws, dtype=torch.uint8)
    return Split.from_arrays(images, torch.arange(24) % 3, ["a", "b", "c"])


@pytest.fixture(scope="module")
def distill(train: Split) -> Callable[[str, Path], DistilledSet]:
    def made(name: str, folder: Path) -> DistilledSet:
        method, config = CONFIGS[name]
        with Run(folder / "run", seed=0, cache_dir=folder / "cache", checkpoint_seconds=0.0) as run:
            result: DistilledSet = method.distill(train, Budget(ipc=1), config, run)
            return result

    return made


@pytest.fixture(scope="module")
def unbroken(
    distill: Callable[[str, Path], DistilledSet], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, DistilledSet]:
    return {name: distill(name, tmp_path_factory.mktemp(name)) for name in CONFIGS}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("moment", DEATHS)
def test_a_death_leaves_the_same_set(
    name: str,
    moment: str,
    distill: Callable[[str, Path], DistilledSet],
    unbroken: dict[str, DistilledSet],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, lives = DEATHS[moment]
    step, calls = owner.step, []  # type: ignore[attr-defined]

    dead: list[bool] = []

    def counted(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) > lives and not dead:
            dead.append(True)
            raise Death
        return step(*arguments)

    monkeypatch.setattr(owner, "step", counted)
    with pytest.raises(Death):
        distill(name, tmp_path)
    continued = distill(name, tmp_path)
    assert continued.id == unbroken[name].id
    assert len(calls) == STEPS[owner] + 1  # of all steps, only the one that died was begun twice
