"""What a step of trajectory matching draws, against the papers' own numbers."""

from __future__ import annotations

import pytest
import torch

from condense.errors import BadInput
from condense.run.randomness import generator
from condense.trajectories import Window, expert_in_turn, halved, minibatches, perturbed


def _rng(name: str, *ids: int) -> torch.Generator:
    return generator(0, name, *ids)


def test_the_window_of_datm_rises_as_published_for_cifar10_with_ten_images_per_class() -> None:
    window = Window(20, first=10, rise=1000)  # T = 10, T+ = 20, one epoch more every 100 steps
    assert [window.upper(step) for step in (0, 99, 100, 250, 899, 900, 999, 1000, 9999)] == [
        10, 10, 11, 12, 18, 19, 19, 20, 20
    ]  # fmt: skip


def test_the_window_without_sequential_generation_is_whole_from_the_start() -> None:
    window = Window(60, lowest=40)  # DATM, CIFAR-10, 500 and 1000 images per class
    assert {window.upper(step) for step in (0, 1, 5000)} == {60}


def test_start_epochs_lie_in_the_window_and_reach_both_ends() -> None:
    window = Window(20, lowest=3, first=6, rise=10)
    early = {window.draw(0, _rng("start", step)) for step in range(100)}
    late = {window.draw(10, _rng("start", step)) for step in range(400)}
    assert early == {3, 4, 5}
    assert late == set(range(3, 20))


@pytest.mark.parametrize(("lowest", "first", "last"), [(-1, 1, 2), (2, 2, 3), (0, 4, 3), (3, None, 3)])
def test_a_window_without_an_epoch_is_refused(lowest: int, first: int | None, last: int) -> None:
    with pytest.raises(BadInput, match="start epochs need 0 <= T- < T <= T"):
        Window(last, lowest, first)


def test_a_window_must_rise_over_steps() -> None:
    with pytest.raises(BadInput, match="at least one step, got 0"):
        Window(3, first=1, rise=0)


def test_every_expert_has_its_turn_before_one_comes_again() -> None:
    turns = [expert_in_turn(5, step, _rng) for step in range(10)]
    assert sorted(turns[:5]) == sorted(turns[5:]) == list(range(5))
    assert turns[:5] != turns[5:]


def test_minibatches_pass_through_a_permutation_whose_last_chunk_is_short() -> None:
    batches = minibatches(10, 4, 5, _rng("rows"))
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4]
    assert torch.cat(batches[:3]).sort().values.tolist() == list(range(10))
    assert torch.cat(batches[3:]).unique().numel() == 8


def test_without_a_batch_size_every_step_takes_all_images() -> None:
    batches = minibatches(6, None, 3, _rng("rows"))
    assert [batch.sort().values.tolist() for batch in batches] == [list(range(6))] * 3
    assert [len(batch) for batch in minibatches(6, 100, 2, _rng("rows"))] == [6, 6]


def test_mirror_images_halve_the_batch_as_in_fyi() -> None:
    assert halved(None, 10) == 5  # CIFAR-10, one image per class: five images and their mirror images
    assert halved(125, 5000) == 62
    assert halved(500, 10) == 5  # a batch is never larger than the set
    with pytest.raises(BadInput, match="raise batch to at least 2"):
        halved(1, 10)


def test_only_convolutions_are_perturbed_and_by_the_strength_times_their_size() -> None:
    parts = [torch.full((6, 5, 3, 3), 2.0), torch.ones(6), torch.ones(4, 6)]
    moved = perturbed(parts, 0.5, _rng("noise"))
    assert torch.equal(moved[1], parts[1])
    assert torch.equal(moved[2], parts[2])
    change = (moved[0] - parts[0]) / parts[0]  # strength * d, and ||d|| = 1
    torch.testing.assert_close(change.norm(), torch.tensor(0.5), rtol=1e-5, atol=0)
    assert change.std() > 0


def test_the_perturbation_is_the_formula() -> None:
    weight = torch.randn(3, 2, 3, 3, generator=_rng("weight"))
    noise = torch.randn(3, 2, 3, 3, generator=_rng("noise"))
    (moved,) = perturbed([weight], 1.5, _rng("noise"))
    torch.testing.assert_close(moved, weight * (1 + 1.5 * noise / noise.square().sum().sqrt()))
