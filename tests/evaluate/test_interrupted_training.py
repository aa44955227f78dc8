"""A judging that is killed within a network goes on there, to the same bits."""

from __future__ import annotations

import itertools

import pytest

from condense.evaluate import trials
from condense.evaluate.judge import judge
from condense.progress import NoProgress
from condense.run import Run
from condense.training import Engine

EPOCHS, STEPS = 12, 3  # of one training of the fixture's protocol


class Killed(BaseException):
    """What no part of the judge may catch."""


class Watched(NoProgress):
    """Counts the steps that were made, and dies after so many."""

    def __init__(self, lives: int | None = None):
        self.steps = 0
        self.shown: list[tuple[str, int]] = []
        self.ended = 0
        self._lives = lives

    def begin(self, name, total, done=0):
        self.shown.append((name, total))

    def advance(self, done, values=None):
        self.steps += 1
        if self._lives is not None and self.steps > self._lives:
            raise Killed

    def end(self, note=None):
        self.ended += 1


@pytest.fixture
def judged_in(synthetic, dataset, make_protocol, tmp_path):
    """judged_in(progress) -> cells without their times, of a run that the next call continues."""

    def call(progress: Watched, folder: str = "run", **options):
        with Run(tmp_path / folder, seed=0, checkpoint_seconds=0.0, progress=progress) as run:
            for network, cell in judge(synthetic.training_view(), dataset, make_protocol(), run=run, **options):
                yield network, cell.seeds, cell.accuracy
        assert not list((tmp_path / folder / "networks").glob("*"))  # nothing is kept of what the caller has

    return call


ENGINES = {"sequential": 2, "batched": 1}  # and the cells that it gives for one network of two seeds


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_training_goes_on_within_the_network(judged_in, monkeypatch, engine):
    monkeypatch.setattr(trials, "choose", lambda recipe, *rest, **more: Engine(engine, precision=recipe.precision))
    undisturbed = Watched()
    whole = list(judged_in(undisturbed, "undisturbed", networks=["mlp:width=8"]))
    assert len(whole) == ENGINES[engine]
    steps = EPOCHS * STEPS * len(whole)
    extra = undisturbed.steps - steps  # one at the end of each training that is shown by itself

    found, made, lives = [], 0, 0
    for lives in itertools.count(5, 3):
        dying = Watched(lives)
        done = [(network, seed) for network, seeds, _ in found for seed in seeds]
        try:
            for cell in judged_in(dying, done=done, networks=["mlp:width=8"]):
                found.append(cell)
        except Killed:
            made += dying.steps - 1
        else:
            made += dying.steps
            break
    assert found == whole
    assert lives > 8  # it was killed more than once
    # The step that was being made at a death is made again, and so is the one that nobody was told of.
    assert made <= steps + extra + 2 * (lives - 5) // 3


def test_a_network_is_shown_with_all_its_seeds(judged_in):
    progress = Watched()
    list(judged_in(progress))
    assert progress.shown == [("mlp:width=8", 2 * EPOCHS), ("convnet-d1:width=4", 2 * EPOCHS)]
    assert progress.ended == 2


def test_the_engine_is_that_of_the_protocol_whatever_is_left_to_do(synthetic, dataset, make_protocol, monkeypatch):
    asked = []

    def remember(recipe, *rest, seeds, **more):
        asked.append(seeds)
        return Engine(precision=recipe.precision)

    monkeypatch.setattr(trials, "choose", remember)
    view, protocol = synthetic.training_view(), make_protocol(seeds=3)
    list(judge(view, dataset, protocol, networks=["mlp:width=8"]))
    list(judge(view, dataset, protocol, networks=["mlp:width=8"], done=[("mlp:width=8", 0), ("mlp:width=8", 2)]))
    assert asked == [3, 3]


def test_a_training_that_diverges_leaves_nothing_behind(synthetic, dataset, make_protocol, tmp_path):
    protocol = make_protocol(panel=[{"network": "mlp:width=8", "recipe": {"lr": 1e30}}])
    with Run(tmp_path, seed=0, checkpoint_seconds=0.0) as run:
        cells = [cell for _, cell in judge(synthetic.training_view(), dataset, protocol, run=run)]
    assert [cell.status for cell in cells] == ["failed", "failed"]
    assert not list((tmp_path / "networks").glob("*"))
