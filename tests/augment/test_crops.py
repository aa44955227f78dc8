"""Crop and flip, and the random resized crop against torchvision's."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from condense import _torchvision
from condense.augment import CropFlip, Draw, RandomResizedCrop
from condense.augment.geometry import resized_crop, shuffled
from condense.errors import BadInput

Images = Callable[..., Tensor]


def test_crop_flip_is_a_window_of_the_padded_image_then_mirrored(images: Images, generator: torch.Generator) -> None:
    batch, augmentation = images(50, 2, 6, 5), CropFlip(padding=2)
    draw = augmentation.draw(50, (2, 6, 5), generator)
    out = augmentation.apply(batch, draw)
    padded = torch.nn.functional.pad(batch, (2, 2, 2, 2))
    for index, (down, right, mirrored) in enumerate(draw.uniform.tolist()):
        top, left = int(down * 5), int(right * 5)
        window = padded[index, :, top : top + 6, left : left + 5]
        assert torch.equal(out[index], window.flip(2) if mirrored < 0.5 else window)


def test_crop_flip_without_flip_never_mirrors_and_uses_the_same_shifts(
    images: Images, generator: torch.Generator
) -> None:
    augmentation = CropFlip().without_flip()
    ramp = torch.arange(16.0).expand(100, 1, 16, 16) + 1
    out = augmentation(ramp, generator)[:, 0, 8]
    assert all((row[row > 0].diff() == 1).all() for row in out)


@pytest.mark.parametrize("augmentation", [CropFlip(padding=1), RandomResizedCrop()])
def test_crops_are_differentiable_in_the_images(
    images: Images, generator: torch.Generator, augmentation: CropFlip | RandomResizedCrop
) -> None:
    draw = augmentation.draw(3, (2, 4, 5), generator)
    assert torch.autograd.gradcheck(lambda x: augmentation.apply(x, draw), (images(3, 2, 4, 5).requires_grad_(),))


def test_resized_crops_are_those_of_torchvision(images: Images, generator: torch.Generator) -> None:
    functional = _torchvision.load("transforms.functional")
    augmentation, batch = RandomResizedCrop(), images(40, 3, 12, 9, dtype=torch.float32)
    draw = augmentation.draw(40, (3, 12, 9), generator)
    out = augmentation.apply(batch, draw)
    for index, box in enumerate(augmentation.boxes((12, 9), draw).tolist()):
        expected = functional.resized_crop(batch[index : index + 1], *box, size=[12, 9], antialias=False)[0]
        expected = expected.flip(2) if draw.uniform[index, -1] < 0.5 else expected
        torch.testing.assert_close(out[index], expected, rtol=0, atol=1e-5)  # float32 sampling places


def test_a_box_of_the_whole_image_is_the_identity(images: Images) -> None:
    batch = images(2, 3, 6, 8)
    whole = torch.tensor([[0, 0, 6, 8]])
    torch.testing.assert_close(resized_crop(batch, whole, torch.tensor([False])), batch, rtol=0, atol=1e-12)
    torch.testing.assert_close(resized_crop(batch, whole, torch.tensor([True])), batch.flip(3), rtol=0, atol=1e-12)


def test_boxes_have_the_areas_and_shapes_asked_for_and_lie_within_the_image(generator: torch.Generator) -> None:
    augmentation = RandomResizedCrop(scale=(0.25, 1.0), ratio=(0.5, 2.0))
    size = (64, 48)
    top, left, height, width = augmentation.boxes(size, augmentation.draw(4000, (3, *size), generator)).unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 64).all()
    assert (left + width <= 48).all()
    assert (height * width).min() >= 0.25 * 64 * 48 - 64  # rounding moves a side by at most half a pixel
    assert (width / height).max() <= 2.0 * 1.05
    assert (width / height).min() >= 0.5 / 1.05
    assert len(top.unique()) > 30  # corners spread over the room there is


def test_boxes_follow_the_distribution_of_torchvision(generator: torch.Generator) -> None:
    transform = _torchvision.load("transforms").RandomResizedCrop
    ours = RandomResizedCrop()
    boxes = ours.boxes((32, 32), ours.draw(3000, (3, 32, 32), generator)).double()
    image = torch.zeros(3, 32, 32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.tensor([transform.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(3000)]).double()
    gap = (boxes.mean(0) - theirs.mean(0)).abs()
    error = (boxes.var(0) / 3000 + theirs.var(0) / 3000).sqrt()
    assert (gap < 5 * error).all(), (gap / error).tolist()


@pytest.mark.parametrize(("size", "central"), [((10, 40), [0, 13, 10, 13]), ((40, 10), [13, 0, 13, 10])])
def test_where_no_try_fits_the_box_is_central(size: tuple[int, int], central: list[int]) -> None:
    augmentation = RandomResizedCrop(scale=(1.0, 1.0))  # the whole area at nearly a square fits neither image
    draw = Draw(torch.full((1, 23), 0.5, dtype=torch.float64))
    assert augmentation.boxes(size, draw).tolist() == [central]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": (0.5, 0.1)}, "scale must be two positive numbers in ascending order, got (0.5, 0.1)"),
        ({"scale": (0.5, 2.0)}, "scale is a part of the image and ends at 1, got (0.5, 2.0)"),
        ({"ratio": (0.0, 1.0)}, "ratio must be two positive numbers in ascending order, got (0.0, 1.0)"),
        ({"ratio": (1.0, math.inf)}, "ratio must be two positive numbers in ascending order, got (1.0, inf)"),
    ],
)
def test_impossible_boxes_are_refused(fields: dict[str, tuple[float, float]], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        RandomResizedCrop(**fields)
    assert str(caught.value) == message


def test_negative_padding_is_refused() -> None:
    with pytest.raises(BadInput, match="padding must be a whole number of pixels, at least 0, got -1"):
        CropFlip(padding=-1)


def test_halves_of_a_mosaic_change_places_with_their_pixels() -> None:
    """Strips of columns, then of rows, are sorted by their numbers; the last strip takes what is left over."""
    image = torch.arange(20.0).view(1, 1, 4, 5)
    swapped = shuffled(image, torch.tensor([[0.9, 0.1]]), 3)
    assert torch.equal(swapped[0, 0], image[0, 0][:, [2, 3, 4, 0, 1]])
    assert torch.equal(shuffled(image, torch.tensor([[0.1, 0.9]]), 2), image)
    crop = RandomResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=False, shuffle=2)
    quarters = torch.zeros(64, 1, 4, 4)
    quarters[:, :, :2, :2] = 1.0
    found = crop(quarters, torch.Generator().manual_seed(0))
    places = found[:, 0, ::2, ::2].flatten(1).argmax(1).bincount(minlength=4)
    assert torch.equal(found.sum((1, 2, 3)), torch.full((64,), 4.0))
    assert bool((places > 4).all())  # 16 of 64 are expected in each quarter
    with pytest.raises(BadInput, match="got 0"):
        RandomResizedCrop(shuffle=0)
