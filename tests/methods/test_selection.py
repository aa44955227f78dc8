"""The selection rules on points whose answer can be seen."""

from __future__ import annotations

import torch

from condense.methods.herding import herd
from condense.methods.kcenter import cover
from condense.methods.kmeans import cluster, nearest_to_centres


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_herding_keeps_the_mean_of_the_chosen_at_the_class_mean() -> None:
    # Mean 3. First 3 itself is not there: 2 and 4 tie, the lower row wins; then 4 brings the mean to 3 exactly.
    points = torch.tensor([[0.0], [2.0], [4.0], [6.0]])
    assert herd(points, 2, _generator()).tolist() == [1, 2]
    # With 2 and 4 chosen, 0 and 6 tie again for the third place.
    assert herd(points, 4, _generator()).tolist() == [1, 2, 0, 3]


def test_herding_is_the_greedy_minimum_of_a_plain_search() -> None:
    points = torch.randn(12, 3, dtype=torch.float64, generator=_generator())
    chosen: list[int] = []
    for count in range(1, 7):
        gaps = {
            row: float((points[[*chosen, row]].sum(0) / count - points.mean(0)).norm())
            for row in range(12)
            if row not in chosen
        }
        chosen.append(min(gaps, key=gaps.__getitem__))
    assert herd(points, 6, _generator()).tolist() == chosen


def test_herding_all_of_a_class_takes_every_image_once() -> None:
    assert sorted(herd(torch.zeros(5, 2), 5, _generator()).tolist()) == [0, 1, 2, 3, 4]


def test_k_center_starts_at_the_middle_and_goes_to_the_farthest() -> None:
    points = torch.tensor([[0.0], [1.0], [5.0], [9.0], [10.0]])  # mean 5
    # After 5, the ends 0 and 10 tie at distance 5; the lower row wins, and then the other one is the farthest.
    assert cover(points, 3, _generator()).tolist() == [2, 0, 4]


def test_k_center_is_within_twice_the_best_radius() -> None:
    points = torch.randn(9, 2, dtype=torch.float64, generator=_generator())

    def radius(rows: list[int]) -> float:
        return float(torch.cdist(points, points[rows]).min(dim=1).values.max())

    best = min(radius([a, b, c]) for a in range(9) for b in range(a) for c in range(b))
    assert radius(cover(points, 3, _generator()).tolist()) <= 2 * best  # Gonzalez 1985: for any first centre


def test_k_center_does_not_choose_an_image_twice() -> None:
    assert sorted(cover(torch.zeros(4, 2), 4, _generator()).tolist()) == [0, 1, 2, 3]


def test_clusters_far_apart_are_found_exactly() -> None:
    groups = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    points = (groups[:, None] + torch.tensor([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])).flatten(0, 1)
    centres = cluster(points, 3, 3, _generator())
    torch.testing.assert_close(centres[centres.norm(dim=1).argsort()][0], torch.zeros(2, dtype=torch.float64))
    assert sorted(map(tuple, centres.round().abs().tolist())) == [(0.0, 0.0), (0.0, 100.0), (100.0, 0.0)]


def test_the_nearest_image_to_a_centre_is_taken_once() -> None:
    points = torch.tensor([[0.0], [1.0], [10.0]])
    centres = torch.tensor([[0.1], [0.2], [0.3]])
    assert nearest_to_centres(points, centres).tolist() == [0, 1, 2]
