"""Crops that go on by a curriculum, mirrors and rolls."""

from __future__ import annotations

import pytest
import torch

from condense.augment import geometry
from condense.errors import BadInput
from condense.recovery import Views, smallest_area


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("curriculum", "milestone", "expected"),
    [
        # Steps 0, 1000, 2000, 3000, 3999 of 4000; by hand from CDA's formulas with c = 0.08.
        ("constant", 1.0, [0.08, 0.08, 0.08, 0.08, 0.08]),
        ("step", 0.5, [1.0, 1.0, 0.08, 0.08, 0.08]),
        ("linear", 1.0, [1.0, 0.77, 0.54, 0.31, 0.08023]),
        ("linear", 0.5, [1.0, 0.54, 0.08, 0.08, 0.08]),
        ("cosine", 1.0, [1.0, 0.54 + 0.46 * 0.5**0.5, 0.54, 0.54 - 0.46 * 0.5**0.5, 0.0800001]),
        ("cosine", 0.5, [1.0, 0.54, 0.08, 0.08, 0.08]),
        ("cosine", 0.0, [0.08, 0.08, 0.08, 0.08, 0.08]),
    ],
)
def test_the_curriculum_at_given_steps(curriculum: str, milestone: float, expected: list[float]) -> None:
    found = [smallest_area(step, 4000, curriculum, milestone, 0.08) for step in (0, 1000, 2000, 3000, 3999)]  # type: ignore[arg-type]
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_curriculum_begins_with_the_whole_image() -> None:
    images = torch.rand(2, 3, 16, 16, generator=seeded())
    views = Views(steps=100, curriculum="cosine", flip=False, roll_to=0)
    for seed in range(20):
        torch.testing.assert_close(views(images, 0, seeded(seed)), images, rtol=0, atol=1e-5)  # resampled in place
    changed = [not torch.allclose(views(images, 99, seeded(seed)), images, atol=1e-3) for seed in range(20)]
    assert sum(changed) >= 18


def test_one_draw_serves_the_batch_and_or_each_sample() -> None:
    images = torch.rand(1, 3, 16, 16, generator=seeded()).expand(6, -1, -1, -1)
    together = Views(steps=10, roll_to=8)(images, 5, seeded())
    assert all(torch.equal(view, together[0]) for view in together)
    apart = Views(steps=10, roll_to=8, draws="sample")(images, 5, seeded())
    assert len({view.numpy().tobytes() for view in apart}) == 6


def test_without_crops_views_hold_the_same_pixels() -> None:
    images = torch.rand(4, 3, 8, 8, generator=seeded())
    for draws in ("batch", "sample"):
        views = Views(steps=10, lowest=1.0, roll_from=-4, roll_to=4, draws=draws)(images, 0, seeded(1))  # type: ignore[arg-type]
        assert torch.equal(views.flatten(2).sort(2).values, images.flatten(2).sort(2).values)
        assert not torch.equal(views, images)


def test_a_roll_per_sample_is_the_roll_of_each() -> None:
    images = torch.rand(3, 2, 5, 4, generator=seeded(), dtype=torch.float64)
    down, right = torch.tensor([1, -2, 7]), torch.tensor([0, 3, -1])
    expected = [image.roll((int(i), int(j)), (1, 2)) for image, i, j in zip(images, down, right, strict=True)]
    assert torch.equal(geometry.roll(images, down, right), torch.stack(expected))
    assert torch.equal(geometry.roll(images, down[:1], right[:1]), images.roll((1, 0), (2, 3)))
    assert torch.autograd.gradcheck(lambda x: geometry.roll(x, down, right), (images.requires_grad_(),))


def test_rolls_reach_both_ends() -> None:
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 1.0
    views = Views(steps=1, lowest=1.0, flip=False, roll_from=-2, roll_to=1)
    places = {tuple((views(image, 0, seeded(seed))[0, 0] == 1).nonzero()[0].tolist()) for seed in range(300)}
    assert places == {(row, column) for row in range(2, 6) for column in range(2, 6)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"roll_from": 3, "roll_to": 2}, "the roll goes from 3 to 2 pixels; put the smaller one first"),
        ({"lowest": 0.0}, r"the smallest crop is an area in \(0, 1\]"),
        ({"milestone": 1.5}, r"the milestone lies in \[0, 1\], got 0.08 and 1.5"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Views(steps=1, **fields)  # type: ignore[arg-type]
