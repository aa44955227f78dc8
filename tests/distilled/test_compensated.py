"""One compensator for the images of all classes: which image gets which, and what the bytes stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from condense import distilled
from condense.data import Split
from condense.distilled import DistilledSet
from condense.distilled.compensated import CompensatedView, packed, unpacked
from condense.distilled.views import PlainView
from condense.errors import BadInput
from condense.preprocessing import Preprocessing, identity

SHAPE = (3, 6, 8)


def levels(*values: int) -> torch.Tensor:
    """Images of one brightness each, (N, 3, 6, 8) uint8."""
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, *SHAPE)


def test_every_image_meets_the_compensators_of_its_group() -> None:
    """Two classes, K = 2 groups, M = 2 networks: 4 images stand for 12."""
    stored = PlainView(levels(10, 20, 30, 40), identity())  # class 0: 10, 20; class 1: 30, 40
    shifts = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(-1, 1, 1, 1).repeat(1, *SHAPE)  # network 0: groups 0, 1; then 1
    view = CompensatedView(stored, shifts, groups=2)
    assert len(view) == 12
    found = view.gather(torch.arange(12))[:, 0, 0, 0]
    own = torch.tensor([10, 20, 30, 40]) / 255
    expected = torch.cat([own, own + torch.tensor([0.1, 0.2, 0.1, 0.2]), own + torch.tensor([0.3, 0.4, 0.3, 0.4])])
    torch.testing.assert_close(found, expected)
    assert torch.equal(view.gather(torch.tensor([9, 2])), view.gather(torch.arange(12))[[9, 2]])


def test_sums_are_cut_to_the_range_of_pixels(space: Preprocessing) -> None:
    stored = PlainView(levels(250, 5), space)
    shifts = torch.stack([torch.full(SHAPE, 9.0), torch.full(SHAPE, -9.0)])
    view = CompensatedView(stored, shifts, groups=1)
    pixels = space.inverse(view.gather(torch.arange(2, 6)))
    torch.testing.assert_close(pixels.flatten(1)[:, 0], torch.tensor([1.0, 1.0, 0.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(view.gather(torch.arange(2)), stored.gather(torch.arange(2)))


def test_a_compensator_takes_a_byte_a_value_and_loses_half_a_step() -> None:
    shifts = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2
    extras = packed(shifts)
    assert extras["compensators"].dtype == torch.uint8
    worst = (unpacked(extras) - shifts).abs().flatten(1).amax(1)
    assert bool((worst <= extras["step"] * 0.5001).all())
    flat = packed(torch.zeros(1, *SHAPE))
    assert torch.equal(unpacked(flat), torch.zeros(1, *SHAPE))


def test_a_saved_set_composes_the_same_images(train: Split, space: Preprocessing, tmp_path: Path) -> None:
    pixels = train.take(torch.cat([train.of_class(label)[:2] for label in range(3)]))
    extras = packed(torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1)))
    classes = torch.arange(3).repeat_interleave(2).repeat(3)
    made = DistilledSet.synthetic(
        pixels, classes, train, space, extras=extras, expansion={"kind": "compensated", "groups": 2}
    )
    loaded = distilled.load(distilled.save(made, tmp_path / "set"))
    every = torch.arange(18)
    assert len(loaded.view()) == 18
    assert torch.equal(loaded.view().gather(every), made.view().gather(every))
    assert made.bytes().extras == 4 * (3 * 6 * 8 + 8)


def test_groups_that_do_not_come_out_even_are_refused() -> None:
    with pytest.raises(BadInput, match="do not make 3 groups"):
        CompensatedView(PlainView(levels(1, 2, 3, 4), identity()), torch.zeros(3, *SHAPE), groups=3)
