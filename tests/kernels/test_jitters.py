"""A jitter is no secret: it is counted, said once, and flagged in the set."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from condense.kernels import Jitters, Ridge, dual_weights, ridge_weights
from condense.progress import NoProgress
from condense.run import Run


class Heard(NoProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


TWICE = torch.ones(2, 3)  # the same sample two times: singular but for the ridge


@pytest.mark.parametrize("solve", [ridge_weights, lambda features, *more: dual_weights(features @ features.T, *more)])
def test_a_solve_tells_of_its_jitter_and_of_nothing_else(solve) -> None:
    told: list[float] = []
    solve(TWICE, torch.ones(2, 1), Ridge(1.0), told.append)
    assert told == []
    solve(TWICE, torch.ones(2, 1), Ridge(1e-30), told.append)
    # Ten times the rounding of float32, of a mean diagonal of 3.
    assert told == [pytest.approx(10 * torch.finfo(torch.float32).eps * 3)]
    assert torch.equal(
        solve(TWICE, torch.ones(2, 1), Ridge(1e-30)), solve(TWICE, torch.ones(2, 1), Ridge(1e-30), told.append)
    )


def test_jitters_are_said_once_and_counted_over_an_interruption(tmp_path: Path) -> None:
    heard = Heard()

    def work(last: int) -> Jitters:
        with Run(tmp_path, seed=0, checkpoint_seconds=0.0, progress=heard) as run:
            jitters = Jitters(run)
            for step in run.loop("regress", 4, run.state(jitters=jitters)):
                jitters(2.5e-7)
                if step == last:
                    raise KeyboardInterrupt
        return jitters

    with pytest.raises(KeyboardInterrupt):
        work(last=2)
    assert work(last=4).provenance() == {"flags": {"jittered_solves": 4}}
    (line,) = heard.lines
    assert line.startswith("warning: rounding left a Gram matrix indefinite, and 2.5e-07 was added")


def test_a_set_without_jitters_has_no_flag(tmp_path: Path) -> None:
    with Run(tmp_path, seed=0) as run:
        assert Jitters(run).provenance() == {}
