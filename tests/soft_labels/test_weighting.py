"""The best weight between ground truth and soft labels: by hand, against a grid, and by training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from label_cases import SHAPE
from torch.nn import functional as F

from condense.data import Split
from condense.distilled.views import PlainView
from condense.errors import BadInput
from condense.preprocessing import Preprocessing
from condense.probing import ridge_probe, ridge_regression
from condense.run import Run
from condense.soft_labels import class_weights, estimate_weight, mixed, optimal_weight, regressed_weight
from condense.training import Loss, Recipe

TRUTH = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


def test_the_weight_of_a_case_solved_by_hand() -> None:
    """y - w = (.5, -.5) and (-.25, .25), u - w = (.4, -.4) and (.25, -.25): a* = .275 / .445."""
    on_truth = torch.tensor([[0.9, 0.1], [0.5, 0.5]])
    on_soft = torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    found = optimal_weight(TRUTH, on_truth, on_soft)
    assert found.value == found.raw == pytest.approx(0.275 / 0.445)


def test_no_weight_of_a_grid_is_better() -> None:
    draws = torch.Generator().manual_seed(0)
    truth = F.one_hot(torch.randint(0, 5, (40,), generator=draws), 5).double()
    u, w = (torch.randn(40, 5, generator=draws).double().softmax(1) for _ in range(2))
    best = optimal_weight(truth, u, w)

    def error(weight: float) -> float:
        return float((truth - (weight * u + (1 - weight) * w)).square().sum())

    assert min(error(best.raw + step / 1000) for step in range(-500, 500)) == pytest.approx(error(best.raw))


def test_a_weight_beyond_its_range_is_clipped_and_still_told() -> None:
    hurt = optimal_weight(TRUTH, torch.tensor([[0.6, 0.4], [0.4, 0.6]]), torch.full((2, 2), 0.5))
    assert (hurt.value, hurt.raw) == (1.0, pytest.approx(5.0))
    trusted = optimal_weight(TRUTH, torch.full((2, 2), 0.5), torch.tensor([[0.6, 0.4], [0.4, 0.6]]))
    assert (trusted.value, trusted.raw) == (0.0, pytest.approx(-4.0))


def test_a_weight_that_makes_no_difference_is_the_one_given() -> None:
    same = torch.full((2, 2), 0.5)
    assert optimal_weight(TRUTH, same, same, otherwise=0.3).value == 0.3


def test_a_weight_that_the_data_do_not_tell_is_the_one_given() -> None:
    draws = torch.Generator().manual_seed(4)
    truth = F.one_hot(torch.arange(20) % 2, 2)
    nearly = torch.full((20, 2), 0.5) + 1e-4 * torch.randn(20, 2, generator=draws)
    found = optimal_weight(truth, nearly, torch.full((20, 2), 0.5), otherwise=0.3)
    assert found.deviation > 1
    assert found.value == 0.3


def test_the_deviation_covers_the_truth_as_often_as_it_should() -> None:
    """y = w + a (u - w) + noise, a = 0.4: least squares, whose estimate lies within two deviations in 95 % of cases."""
    draws = torch.Generator().manual_seed(1)
    covered = 0
    for _ in range(200):
        u, w, noise = (torch.randn(30, 4, generator=draws, dtype=torch.float64) for _ in range(3))
        found = optimal_weight(w + 0.4 * (u - w) + 0.5 * noise, u, w)
        covered += abs(found.raw - 0.4) < 2 * found.deviation
    assert 180 <= covered <= 199


def test_a_class_with_many_rows_has_a_weight_of_its_own() -> None:
    truth = TRUTH.repeat_interleave(500, 0)
    on_truth = torch.tensor([[0.9, 0.1], [0.5, 0.5]]).repeat_interleave(500, 0)
    on_soft = torch.tensor([[0.5, 0.5], [0.4, 0.6]]).repeat_interleave(500, 0)
    own = [optimal_weight(truth[rows], on_truth[rows], on_soft[rows]).raw for rows in (slice(500), slice(500, None))]
    overall = optimal_weight(truth, on_truth, on_soft).raw
    expected = torch.tensor([each * 5 / 6 + overall / 6 for each in own], dtype=torch.float64).clamp(0, 1)
    torch.testing.assert_close(class_weights(truth, on_truth, on_soft), expected)


def test_a_mixed_target_has_the_gradient_of_both_losses() -> None:
    draws = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 4, generator=draws, requires_grad=True)
    soft = torch.randn(6, 4, generator=draws).softmax(1)
    classes = torch.tensor([0, 1, 2, 3, 0, 1])
    one = F.cross_entropy(logits, mixed(classes, soft, 0.3))
    two = 0.3 * F.cross_entropy(logits, classes) + 0.7 * F.cross_entropy(logits, soft)
    torch.testing.assert_close(torch.autograd.grad(one, logits)[0], torch.autograd.grad(two, logits)[0])


def test_classes_may_have_weights_of_their_own() -> None:
    found = mixed(torch.tensor([1, 0]), torch.full((2, 2), 0.5), torch.tensor([0.0, 1.0]))
    assert found.tolist() == [[0.0, 1.0], [0.5, 0.5]]
    with pytest.raises(BadInput, match=r"lies in \[0, 1\]"):
        mixed(torch.tensor([0]), torch.full((1, 2), 0.5), 1.5)
    with pytest.raises(BadInput, match="the set has none"):
        mixed(None, torch.full((1, 2), 0.5), 0.5)


def test_useless_soft_labels_are_found_by_training(
    train: Split, space: Preprocessing, open_run: Callable[..., Run]
) -> None:
    """Soft labels that say another class than the truth: all weight goes to the truth."""
    pixels = torch.zeros(30, *SHAPE, dtype=torch.uint8)
    classes = torch.arange(30) % 3
    for row, label in enumerate(classes.tolist()):
        pixels[row, label] = 200  # the class is the bright channel
    held = Split.from_arrays(pixels, classes, train.classes)
    wrong = F.one_hot((classes + 1) % 3, 3).float()
    recipe = Recipe(8, 10, lr=0.05, loss=Loss())
    view = PlainView(pixels, space)
    found = estimate_weight(view, classes, wrong, held, space, "mlp:width=8", recipe, open_run(), seeds=1)
    assert found.value > 0.9
    with pytest.raises(BadInput, match="temperature 1"):
        estimate_weight(
            view, classes, wrong, held, space, "mlp", recipe.replace(loss=Loss("kl", 4.0)), open_run("other")
        )


def test_the_regressed_weight_is_the_best_of_a_grid_of_regressions() -> None:
    draws = torch.Generator().manual_seed(3)
    centres = torch.randn(4, 12, generator=draws)
    classes, truth = torch.arange(24) % 4, torch.arange(200) % 4
    features = centres[classes] + 1.5 * torch.randn(24, 12, generator=draws)
    held = centres[truth] + 1.5 * torch.randn(200, 12, generator=draws)
    soft = (F.one_hot(classes, 4).float() + 0.3 * torch.rand(24, 4, generator=draws)).softmax(1)
    found = regressed_weight(features, classes, soft, held, truth)
    penalty = ridge_probe(features, classes, 4).penalty

    def error(weight: float) -> float:
        targets = weight * F.one_hot(classes, 4).double() + (1 - weight) * soft.double()
        values = ridge_regression(features, targets, penalty).values(held)
        return float((values - F.one_hot(truth, 4)).square().sum())

    around = [error(found.raw + step) for step in (-0.05, -0.01, 0.0, 0.01, 0.05)]
    assert min(around) == around[2]
    assert around[0] > around[1]
    assert around[4] > around[3]
