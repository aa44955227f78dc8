"""Views: each change of colour against torchvision's or its formula, and what must not depend on the batch."""

from __future__ import annotations

import math

import pytest
import torch
from device_traffic import AWAY, watched
from torch import Tensor

from condense import _torchvision
from condense.augment import Draw, RandomResizedCrop
from condense.errors import BadInput
from condense.self_supervised import Views
from condense.self_supervised.views import desaturation, hue_turn, mix_channels

WHOLE = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": False}  # the crop is the image
STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "grey": 0.0}
COLUMNS = ("jitter", "brightness", "contrast", "saturation", "hue", "grey")


def images(count: int = 5, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(1))


def draw_with(views: Views, count: int, **columns: float) -> Draw:
    """A draw whose colour columns are given; the others leave the image as it is."""
    uniform = views.draw(count, (3, 8, 8), torch.Generator().manual_seed(2)).uniform
    uniform[:, -6:] = torch.tensor([columns.get(name, 0.5 if name != "grey" else 0.99) for name in COLUMNS])
    return Draw(uniform)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_a_factor_of_colour_is_the_one_of_torchvision(name: str) -> None:
    views = Views(**WHOLE, **{**STILL, name: 0.4})
    changed = views.apply(images(), draw_with(views, 5, jitter=0.0, **{name: 0.875}))
    functional = _torchvision.load("transforms.v2.functional")
    expected = getattr(functional, f"adjust_{name}")(images(), 1.3)  # 1 + 0.4 (2 * 0.875 - 1)
    torch.testing.assert_close(changed, expected, atol=1e-3, rtol=0)  # torchvision's luma has three decimals


@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_waits_for_no_device(channels: int) -> None:
    pixels, rng = images(channels=channels).to(AWAY), torch.Generator().manual_seed(0)
    with watched() as waits:
        assert Views(jitter=1.0, grey=0.5)(pixels, rng).shape == pixels.shape
    assert waits == []


def test_without_strengths_a_view_is_a_random_crop() -> None:
    views, crop = Views(**STILL), RandomResizedCrop((0.2, 1.0))
    draw = views.draw(5, (3, 8, 8), torch.Generator().manual_seed(3))
    torch.testing.assert_close(views.apply(images(), draw), crop.apply(images(), Draw(draw.uniform[:, :-6])))


def test_an_image_that_is_not_jittered_keeps_its_colours() -> None:
    views = Views(**WHOLE, grey=0.0)
    torch.testing.assert_close(views.apply(images(), draw_with(views, 5, jitter=0.9, brightness=0.1)), images())


def test_a_grey_image_has_equal_channels() -> None:
    views = Views(**WHOLE)
    changed = views.apply(images(), draw_with(views, 5, grey=0.0))
    torch.testing.assert_close(changed, changed[:, :1].expand(-1, 3, -1, -1))


def test_a_turn_of_hue_keeps_greys_and_comes_round() -> None:
    turns = torch.tensor([0.1, 1.0, -0.3], dtype=torch.float64)
    grey = images(3, 1).double().expand(-1, 3, -1, -1)
    torch.testing.assert_close(mix_channels(grey, hue_turn(turns)), grey, atol=1e-6, rtol=0)
    torch.testing.assert_close(hue_turn(turns[1:2])[0], torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(hue_turn(turns) @ hue_turn(-turns), torch.eye(3, dtype=torch.float64).expand(3, 3, 3))


def test_full_saturation_is_the_identity_and_none_the_luma() -> None:
    matrices = desaturation(torch.tensor([1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(matrices[0], torch.eye(3, dtype=torch.float64))
    assert matrices[1].tolist() == [[0.299, 0.587, 0.114]] * 3


def test_a_view_of_an_image_does_not_depend_on_the_batch() -> None:
    views = Views()
    draw = views.draw(5, (3, 8, 8), torch.Generator().manual_seed(4))
    rows = torch.tensor([3, 1])
    torch.testing.assert_close(views.apply(images(), draw)[rows], views.apply(images()[rows], draw.take(rows)))


@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_pictures(channels: int) -> None:
    changed = Views()(images(40, channels), torch.Generator().manual_seed(5))
    assert changed.shape == (40, channels, 8, 8)
    assert float(changed.min()) >= 0.0
    assert float(changed.max()) <= 1.0
    assert not torch.equal(changed[0], changed[1])


def test_views_of_digits_are_never_mirrored() -> None:
    ramp = torch.linspace(0, 1, 8).expand(30, 1, 8, 8)
    views = Views(scale=(1.0, 1.0), ratio=(1.0, 1.0), jitter=0.0).without_flip()
    torch.testing.assert_close(views(ramp, torch.Generator().manual_seed(6)), ramp)


@pytest.mark.parametrize(("field", "value"), [("jitter", 1.5), ("grey", -0.1), ("hue", 0.6), ("brightness", math.nan)])
def test_a_strength_out_of_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(BadInput, match=field):
        Views(**{field: value})
