"""The ridge probe against scikit-learn and against leaving each row out."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from condense import networks, probing
from condense.data import Split
from condense.errors import BadInput
from condense.preprocessing import normalise
from condense.probing import ridge_probe


def problem(rows: int, width: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(rows)
    labels = torch.arange(rows) % 3
    centres = torch.randn(3, width, generator=draws)
    return centres[labels] + 1.5 * torch.randn(rows, width, generator=draws), labels


@pytest.mark.parametrize(("rows", "width"), [(40, 6), (12, 20)])
def test_the_probe_is_the_ridge_of_scikit_learn(rows: int, width: int) -> None:
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    features, labels = problem(rows, width)
    probe = ridge_probe(features, labels, 3)
    x = StandardScaler().fit_transform(features.double().numpy())
    penalties = [rows * penalty for penalty in probing._PENALTIES]
    expected = RidgeCV(alphas=penalties).fit(x, np.eye(3)[labels.numpy()])
    assert probe.penalty == pytest.approx(expected.alpha_)
    ours = features.double() @ probe.weight + probe.bias
    np.testing.assert_allclose(ours.numpy(), expected.predict(x), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("solve", "together", "accuracy"),
    [(probing._by_features, 4, 1e-5), (probing._by_features, 100, 1e-5), (probing._by_rows, 100, 1e-9)],
)
def test_the_leave_one_out_error_is_that_of_leaving_one_out(
    solve: Callable[..., tuple[Tensor, Tensor]], together: int, accuracy: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the side of the features with leverages in float32."""
    monkeypatch.setattr(probing, "_ROWS", together)
    features, labels = problem(9, 4)
    x = features.double() - features.double().mean(0)
    targets = torch.nn.functional.one_hot(labels, 3).double()
    penalties = torch.tensor([0.5, 2.0, 30.0], dtype=torch.float64)
    scale = probing._Scale(features.double().mean(0), torch.ones(4, dtype=torch.float64))
    weights, closed = solve(features, targets - targets.mean(0), scale, penalties)
    system = x.T @ x + 2.0 * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(weights[:, 1], torch.linalg.solve(system, x.T @ (targets - targets.mean(0))))
    errors = torch.zeros_like(penalties)
    for row, (at, penalty) in itertools.product(range(9), enumerate(penalties)):
        kept = torch.arange(9) != row
        mean_x, mean_y = x[kept].mean(0), targets[kept].mean(0)
        gram = (x[kept] - mean_x).T @ (x[kept] - mean_x) + penalty * torch.eye(4, dtype=torch.float64)
        weight = torch.linalg.solve(gram, (x[kept] - mean_x).T @ (targets[kept] - mean_y))
        errors[at] += (targets[row] - mean_y - (x[row] - mean_x) @ weight).square().mean() / 9
    torch.testing.assert_close(closed, errors, rtol=accuracy, atol=0)


def test_a_constant_feature_and_a_class_without_rows_do_no_harm() -> None:
    features, labels = problem(30, 5)
    features[:, 2] = 4.0
    probe = ridge_probe(features, labels, 4)
    assert bool(probe.weight.isfinite().all())
    assert probe.accuracy(features, labels) > 0.6


def test_a_probe_of_one_row_is_refused() -> None:
    with pytest.raises(BadInput, match="two rows"):
        ridge_probe(torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64), 2)


def test_statistics_come_from_batches_of_more_than_one_image_and_nothing_is_dropped_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probing, "_BATCH", 4)
    pixels = torch.randint(256, (5, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    train = Split.from_arrays(pixels, torch.zeros(5, dtype=torch.int64), ["one"])
    network = networks.build("convnet-d1:width=4,norm=batch", (1, 4, 4), 1)
    network.blocks[0].norm = nn.Sequential(network.blocks[0].norm, nn.Dropout(0.9))
    space, shown = normalise(train.mean, train.std), []
    network.blocks[0].norm.register_forward_hook(lambda _, given, made: shown.append((given[0].clone(), made.clone())))
    probing.take_statistics(network, train, space)
    ((maps, normed),) = shown  # the fifth image would be a batch by itself
    assert len(maps) == 4
    torch.testing.assert_close(network.blocks[0].norm[0].running_mean, maps.mean((0, 2, 3)))
    torch.testing.assert_close(normed.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    assert not any(layer.training for layer in network.modules())
