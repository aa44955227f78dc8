"""The outer step: plain SGD in an ordinary run, and a guard against each known failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from condense.errors import BadInput, Diverged
from condense.progress import Progress
from condense.run import Run
from condense.trajectories import Descent
from condense.trajectories.descent import PATIENCE

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run(tmp_path / "run", seed=0) as opened:
        yield opened


class _Problem:
    """Three numbers as images, a step size of 0.1 and two label logits."""

    def __init__(self, threshold: float | None = None, lr_step_size: float = 0.01):
        self.images = torch.tensor([1.0, -2.0, 3.0])
        self.step_size = torch.tensor(0.1)
        self.labels = torch.tensor([0.5, 1.5])
        self.descent = Descent(
            self.images,
            self.step_size,
            lr_images=0.1,
            lr_step_size=lr_step_size,
            momentum=0.5,
            threshold=threshold,
            labels=self.labels,
            lr_labels=0.2,
            momentum_labels=0.9,
        )

    def values(self) -> list[list[float]]:
        return [part.detach().flatten().tolist() for part in (self.images, self.step_size, self.labels)]

    def descend(self, run: Run, *losses: Loss, name: str = "match") -> None:
        for step in run.loop(name, len(losses), run.state(descent=self.descent)):
            self.descent.step(losses[step](self.images, self.step_size, self.labels), run)


def _linear(images: Tensor, step_size: Tensor, labels: Tensor) -> Tensor:
    """Gradients 1, 2 and 3 everywhere."""
    return images.sum() + 2 * step_size + 3 * labels.sum()


def _times(factor: float) -> Loss:
    return lambda *parts: factor * _linear(*parts)


def test_two_steps_are_sgd_with_a_momentum_for_each_part(run: Run) -> None:
    problem = _Problem()
    problem.descend(run, _linear, _linear)
    images, step_size, labels = problem.values()
    assert images == pytest.approx([1 - 0.1 - 0.15, -2.25, 2.75])  # 0.1 g, then 0.1 (g + 0.5 g)
    assert step_size == pytest.approx([0.1 - 0.02 - 0.03])  # 0.01 * 2, then 0.01 * 3
    assert labels == pytest.approx([0.5 - 0.6 - 1.14, 1.5 - 1.74])  # 0.2 * 3, then 0.2 * (3 + 2.7)
    assert problem.descent.conclusion(run) == {"rejected_steps": 0, "limited_step_sizes": 0}


@pytest.mark.parametrize(
    ("threshold", "bad"),
    [
        (None, lambda images, step_size, labels: images.sum() * torch.nan),
        (None, lambda images, step_size, labels: images.sum() * torch.inf),
        (1e9, lambda images, step_size, labels: images.sum() * torch.nan),
        (1.0, lambda images, step_size, labels: 1.01 + 0 * images.sum()),
        (None, lambda images, step_size, labels: (images - images.detach()).abs().sum().sqrt()),  # gradient NaN
    ],
    ids=["nan", "infinite", "nan below a threshold", "above the threshold", "gradient"],
)
def test_a_bad_step_leaves_no_trace(run: Run, threshold: float | None, bad: Loss) -> None:
    problem, other = _Problem(threshold), _Problem(threshold)
    small = _times(0.01)
    problem.descend(run, small, bad, small, name="disturbed")
    other.descend(run, small, small, name="undisturbed")
    assert problem.values() == other.values()
    assert problem.descent.conclusion(run)["rejected_steps"] == 1


def test_a_loss_at_the_threshold_is_accepted(run: Run) -> None:
    problem = _Problem(threshold=1.0)
    problem.descend(run, lambda images, step_size, labels: 1.0 + 0 * images.sum())
    assert problem.descent.conclusion(run)["rejected_steps"] == 0


def test_a_run_of_rejected_steps_alone_is_a_divergence_however_short(run: Run) -> None:
    problem = _Problem(threshold=1.0)
    bad: Loss = lambda images, step_size, labels: 7.0 + 0 * images.sum()  # noqa: E731
    problem.descend(run, bad, bad, bad)
    with pytest.raises(Diverged, match="all 3 steps were rejected, so that nothing was learned; lower step_size"):
        problem.descent.conclusion(run)


def test_a_run_without_steps_is_none(run: Run) -> None:
    problem = _Problem()
    problem.descend(run)
    assert problem.descent.conclusion(run) == {"rejected_steps": 0, "limited_step_sizes": 0}


def test_the_gradient_of_a_rejected_step_is_not_computed(run: Run) -> None:
    problem = _Problem(threshold=1.0)
    called: list[bool] = []

    def loss(images: Tensor, step_size: Tensor, labels: Tensor) -> Tensor:
        value = 2.0 + 0 * images.sum()
        value.register_hook(lambda _: called.append(True))
        return value

    problem.descend(run, loss)
    assert called == []


@pytest.mark.parametrize(("slope", "expected"), [(1e3, 0.05), (-1e3, 0.2)])
def test_the_step_size_at_most_halves_or_doubles(run: Run, slope: float, expected: float) -> None:
    problem = _Problem()
    problem.descend(run, lambda images, step_size, labels: slope * step_size + 0 * (images.sum() + labels.sum()))
    assert problem.step_size.item() == pytest.approx(expected)
    assert problem.descent.conclusion(run)["limited_step_sizes"] == 1


def test_a_limited_step_size_loses_its_momentum(run: Run) -> None:
    """Twice the limit, then a gradient of zero: with momentum it would go on to 0.4."""
    problem = _Problem()
    slopes = iter([-1e3, 0.0])

    def loss(images: Tensor, step_size: Tensor, labels: Tensor) -> Tensor:
        return next(slopes) * step_size + 0 * (images.sum() + labels.sum())

    problem.descend(run, loss, loss)
    assert problem.step_size.item() == pytest.approx(0.2)


def test_what_the_guards_did_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad: Loss = lambda images, step_size, labels: images.sum() * torch.nan  # noqa: E731
    with Run(tmp_path / "run", seed=0, progress=Progress()) as run:
        quiet, loud = _Problem(), _Problem()
        quiet.descend(run, _times(0.01), name="quiet")
        quiet.descent.conclusion(run)
        assert "rejected;" not in capsys.readouterr().err
        loud.descend(run, _times(0.01), bad, name="loud")
        loud.descent.conclusion(run)
    assert "condense: of 2 steps 1 were rejected; the step size was limited in 0\n" in capsys.readouterr().err


def test_a_step_size_of_zero_is_refused_before_the_work() -> None:
    with pytest.raises(BadInput, match="step_size must be positive to be learned, got 0"):
        Descent(torch.zeros(1), torch.tensor(0.0), lr_images=1.0, lr_step_size=1.0, momentum=0.5)


def test_nothing_but_bad_steps_is_a_divergence(tmp_path: Path) -> None:
    bad: Loss = lambda images, step_size, labels: 7.0 + 0 * images.sum()  # noqa: E731
    message = r"100 steps in a row were rejected, the last with a loss of 7, and none was"
    with pytest.raises(Diverged, match=message), Run(tmp_path / "run", seed=0) as run:
        _Problem(threshold=1.0).descend(run, *[bad] * (PATIENCE + 5))


def test_a_run_that_went_bad_stops_with_what_it_had_and_says_why(run: Run) -> None:
    problem = _Problem(threshold=1.0)
    bad: Loss = lambda images, step_size, labels: 7.0 + 0 * images.sum()  # noqa: E731
    problem.descend(run, _times(0.01), *[bad] * (PATIENCE + 5))
    assert run.stops["match"]["step"] == PATIENCE + 1
    assert "100 steps in a row were rejected" in run.stops["match"]["reason"]
    assert problem.descent.conclusion(run)["rejected_steps"] == PATIENCE


def test_a_restored_descent_goes_on_as_an_unbroken_one(run: Run) -> None:
    unbroken, first, second = _Problem(), _Problem(), _Problem()
    unbroken.descend(run, _times(0.1), _times(0.3), name="unbroken")
    first.descend(run, _times(0.1), name="first")
    with torch.no_grad():
        for target, source in ((second.images, first.images), (second.labels, first.labels)):
            target.copy_(source)
        second.step_size.copy_(first.step_size)
    second.descent.load_state_dict(first.descent.state_dict())
    second.descend(run, _times(0.3), name="second")
    assert second.values() == unbroken.values()
