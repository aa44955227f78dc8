"""Differentiable siamese augmentation: formulas, sharing, choice of the op, and the two conventions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from condense.augment import DSA, Draw
from condense.augment.dsa import _COLUMNS, OPS
from condense.errors import BadInput, UnknownName

Images = Callable[..., Tensor]


def drawn(**values: float) -> Draw:
    """A shared draw with the named numbers in [0, 1), for the only op of a DSA."""
    return Draw(torch.tensor([[values.get(name, 0.5) for name in _COLUMNS]], dtype=torch.float64), op=0, shared=True)


def reference(dsa: DSA, op: str, image: Tensor, r: dict[str, float]) -> Tensor:
    """One image (C, H, W) and one op, written out pixel by pixel or with the plainest PyTorch call."""
    _, height, width = image.shape
    if op == "color":
        image = image + (r["brightness"] - 0.5) * dsa.brightness
        grey = image.mean(0, keepdim=True)
        image = (image - grey) * (r["saturation"] * dsa.saturation) + grey
        return (image - image.mean()) * (r["contrast"] + dsa.contrast) + image.mean()
    if op == "crop":
        down, right = (
            int(r[name] * (2 * int(side * dsa.crop + 0.5) + 1)) - int(side * dsa.crop + 0.5)
            for name, side in (("crop_down", height), ("crop_right", width))
        )
        out = torch.zeros_like(image)
        for i in range(height):
            for j in range(width):
                if 0 <= i + down < height and 0 <= j + right < width:
                    out[:, i, j] = image[:, i + down, j + right]
        return out
    if op == "cutout":
        out = image.clone()
        sides = [int(side * dsa.cutout + 0.5) for side in (height, width)]
        row = int(r["cutout_row"] * (height + 1 - sides[0] % 2))
        column = int(r["cutout_column"] * (width + 1 - sides[1] % 2))
        for i in range(row - sides[0] // 2, row - sides[0] // 2 + sides[0]):
            for j in range(column - sides[1] // 2, column - sides[1] // 2 + sides[1]):
                out[:, min(max(i, 0), height - 1), min(max(j, 0), width - 1)] = 0
        return out
    if op == "flip":
        return image.flip(2) if r["flip"] < dsa.flip else image
    if op == "scale":
        factors = [r[name] * (dsa.scale - 1 / dsa.scale) + 1 / dsa.scale for name in ("scale_across", "scale_down")]
        rows = [[factors[0], 0, 0], [0, factors[1], 0]]
    else:
        angle = (r["rotate"] - 0.5) * 2 * dsa.rotate / 180 * math.pi
        rows = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]]
    grid = F.affine_grid(torch.tensor([rows], dtype=image.dtype), [1, *image.shape], align_corners=dsa.align_corners)
    return F.grid_sample(image[None], grid, align_corners=dsa.align_corners)[0]


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 7, 10)])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("one_op_per", ["batch", "sample"])
def test_every_image_is_augmented_as_if_it_were_alone(
    images: Images, generator: torch.Generator, shape: tuple[int, ...], align_corners: bool, one_op_per: str
) -> None:
    batch = images(12, *shape)
    for ops in [OPS, *((op,) for op in OPS)]:
        dsa = DSA(ops=ops, one_op_per=one_op_per, align_corners=align_corners)
        draw = dsa.draw(len(batch), shape, generator)
        together = dsa.apply(batch, draw)
        for index, image in enumerate(batch):
            op = ops[int(draw.op[index]) if isinstance(draw.op, Tensor) else draw.op]
            alone = reference(dsa, op, image, dict(zip(_COLUMNS, draw.uniform[index].tolist(), strict=True)))
            # Only the order of float64 operations differs.
            torch.testing.assert_close(together[index], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("op", OPS)
def test_every_op_is_differentiable_in_the_images(images: Images, generator: torch.Generator, op: str) -> None:
    dsa = DSA(ops=(op,))
    draw = dsa.draw(2, (2, 4, 5), generator)
    assert torch.autograd.gradcheck(lambda x: dsa.apply(x, draw), (images(2, 2, 4, 5).requires_grad_(),))


def test_gradients_flow_back_to_their_own_image_when_each_has_its_op(
    images: Images, generator: torch.Generator
) -> None:
    dsa = DSA(one_op_per="sample")
    draw = dsa.draw(8, (2, 4, 4), generator)
    assert torch.autograd.gradcheck(lambda x: dsa.apply(x, draw), (images(8, 2, 4, 4).requires_grad_(),))


@pytest.mark.parametrize("ops", [(op,) for op in OPS])
def test_neutral_numbers_leave_the_image_unchanged(images: Images, ops: tuple[str, ...]) -> None:
    neutral = DSA(ops=ops, contrast=0.5, cutout=0.0, flip=0.0, scale=1.0, rotate=0.0)
    batch = images(3, 3, 6, 6)
    unchanged = neutral.apply(batch, drawn(saturation=0.5))  # factors 0.5 * 2 = 1 and 0.5 + 0.5 = 1, shift 0
    torch.testing.assert_close(unchanged, batch, rtol=0, atol=1e-14)


def test_colour_on_a_hand_solved_pixel() -> None:
    # One pixel (1, 2, 3). Brightness adds 0.25: (1.25, 2.25, 3.25), mean 2.25. Saturation 0.5: (1.75, 2.25, 2.75).
    # The mean of the only pixel is the image's, so contrast 1.5 gives (1.5, 2.25, 3).
    pixel = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).view(1, 3, 1, 1)
    out = DSA(ops=("color",)).apply(pixel, drawn(brightness=0.75, saturation=0.25, contrast=0.999999999999))
    torch.testing.assert_close(out.flatten(), torch.tensor([1.5, 2.25, 3.0], dtype=torch.float64), rtol=0, atol=1e-9)


def test_crop_moves_a_single_pixel_by_the_drawn_number_of_rows_and_columns() -> None:
    image = torch.zeros(1, 1, 32, 32)
    image[0, 0, 10, 20] = 1
    out = DSA(ops=("crop",)).apply(image, drawn(crop_down=0.0, crop_right=0.999))  # down -4, right +4
    assert out.nonzero().tolist() == [[0, 0, 14, 16]]


def test_largest_crop_is_an_eighth_of_the_side_and_every_shift_occurs(generator: torch.Generator) -> None:
    image = torch.zeros(1, 1, 32, 32)
    image[0, 0, 16, 16] = 1
    dsa = DSA(ops=("crop",))
    moved = dsa(image.expand(2000, -1, -1, -1), generator).nonzero()[:, 2:] - 16
    assert {tuple(place) for place in moved.tolist()} == {(i, j) for i in range(-4, 5) for j in range(-4, 5)}


def test_cutout_is_half_the_side_in_the_middle_and_smaller_at_the_border() -> None:
    ones = torch.ones(1, 1, 32, 32)
    dsa = DSA(ops=("cutout",))
    assert (dsa.apply(ones, drawn(cutout_row=0.5, cutout_column=0.5)) == 0).sum() == 16 * 16
    assert (dsa.apply(ones, drawn(cutout_row=0.0, cutout_column=0.0)) == 0).sum() == 8 * 8
    assert (dsa.apply(ones, drawn(cutout_row=0.9999, cutout_column=0.5)) == 0).sum() == 8 * 16  # centre on the edge


def test_mirroring_twice_is_the_identity(images: Images) -> None:
    batch, dsa = images(2, 3, 5, 6), DSA(ops=("flip",), flip=1.0)
    once = dsa.apply(batch, drawn())
    assert torch.equal(once, batch.flip(3))
    assert torch.equal(dsa.apply(once, drawn()), batch)


@pytest.mark.parametrize("align_corners", [False, True])
def test_rotation_by_a_right_angle_is_exact(images: Images, align_corners: bool) -> None:
    batch = images(2, 3, 6, 6)
    dsa = DSA(ops=("rotate",), rotate=180.0, align_corners=align_corners)
    for r, turns in ((0.75, 1), (0.25, -1), (0.0, 2)):  # 90, -90 and -180 degrees
        out = dsa.apply(batch, drawn(rotate=r))
        torch.testing.assert_close(out, torch.rot90(batch, turns, (2, 3)), rtol=0, atol=1e-13)


def test_scale_above_one_shrinks_the_object_in_its_own_direction() -> None:
    square = torch.zeros(1, 1, 16, 16)
    square[..., 4:12, 4:12] = 1
    out = DSA(ops=("scale",), scale=2.0).apply(square, drawn(scale_across=1 - 1e-9, scale_down=1 / 3))  # 2 and 1
    assert out[0, 0, 8].sum() == pytest.approx(4.0)  # half as wide
    assert out[0, 0, :, 8].sum() == pytest.approx(8.0)


@pytest.mark.parametrize(("op", "r"), [("scale", {"scale_across": 0.9}), ("rotate", {"rotate": 0.9})])
def test_the_two_published_conventions_agree_on_square_images(images: Images, op: str, r: dict[str, float]) -> None:
    batch = images(2, 3, 8, 8)
    results = [DSA(ops=(op,), align_corners=corners).apply(batch, drawn(**r)) for corners in (False, True)]
    # Both maps keep the centre, so only the rounding of coordinates differs.
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    assert not torch.allclose(results[0], batch, atol=1e-2)


def test_the_default_convention_is_that_of_the_authors_code_which_shows_on_other_images(images: Images) -> None:
    batch = images(1, 1, 4, 8)
    authors, mtt = (DSA(ops=("rotate",), align_corners=on).apply(batch, drawn(rotate=0.9)) for on in (False, True))
    assert not torch.allclose(authors, mtt, atol=1e-3)
    assert torch.equal(DSA(ops=("rotate",)).apply(batch, drawn(rotate=0.9)), authors)


@pytest.mark.parametrize("one_op_per", ["batch", "sample"])
def test_a_shared_draw_treats_batches_of_any_size_exactly_alike(
    images: Images, generator: torch.Generator, one_op_per: str
) -> None:
    dsa, pair = DSA(one_op_per=one_op_per), images(1, 3, 8, 8)
    for _ in range(12):
        draw = dsa.draw(5, (3, 8, 8), generator, shared=True)
        real, synthetic = dsa.apply(pair.expand(7, -1, -1, -1), draw), dsa.apply(pair, draw)
        assert all(torch.equal(image, synthetic[0]) for image in real)


def test_a_draw_for_each_class_is_shared_by_the_real_and_the_synthetic_images_of_the_class(
    images: Images, generator: torch.Generator
) -> None:
    dsa, one_of_each = DSA(one_op_per="sample"), images(4, 3, 8, 8)
    draw = dsa.draw(4, (3, 8, 8), generator)
    real = dsa.apply(one_of_each.repeat_interleave(3, 0), draw.repeat_interleave(3))
    labels = torch.tensor([2, 0, 3, 1, 2])
    synthetic = dsa.apply(one_of_each[labels], draw.take(labels))
    assert torch.equal(synthetic, real[::3][labels])
    assert torch.equal(real[::3], real[1::3])


def test_all_ops_are_equally_likely(generator: torch.Generator) -> None:
    per_sample = DSA(one_op_per="sample").draw(6000, (3, 8, 8), generator).op
    per_batch = torch.tensor([DSA().draw(1, (3, 8, 8), generator).op for _ in range(6000)])
    for op in (per_sample, per_batch):
        counts = op.bincount(minlength=6)
        # Five standard deviations of a count with mean 1000.
        assert (counts - 1000).abs().max() < 5 * math.sqrt(6000 * (1 / 6) * (5 / 6))


def test_one_op_per_batch_is_a_number_on_the_host_and_parameters_differ_between_images(
    images: Images, generator: torch.Generator
) -> None:
    dsa = DSA(ops=("color",))
    draw = dsa.draw(6, (3, 8, 8), generator)
    assert draw.op == 0
    assert isinstance(draw.op, int)
    out = dsa.apply(images(1, 3, 8, 8).expand(6, -1, -1, -1), draw)
    assert not torch.allclose(out[0], out[1])


def test_without_flip_never_mirrors_and_keeps_the_rest(generator: torch.Generator) -> None:
    dsa = DSA(crop=0.25, flip_first=False).without_flip()
    assert dsa.ops == ("color", "crop", "cutout", "scale", "rotate")
    assert dsa.crop == 0.25
    assert DSA(flip_first=True).without_flip() == DSA().without_flip()
    ramp = torch.arange(32.0).expand(1, 1, 32, 32) + 1
    for _ in range(60):
        row = dsa(ramp, generator)[0, 0, 16]
        seen = row[row > 0]
        assert seen[-1] >= seen[0]  # a mirrored ramp would descend


def test_for_split_drops_flips_where_a_mirror_image_changes_its_class() -> None:
    class Digits:
        flips = False

    class Animals:
        flips = True

    assert "flip" not in DSA.for_split(Digits()).ops
    assert DSA.for_split(Animals(), rotate=5.0) == DSA(rotate=5.0)
    assert DSA.for_split(Animals(), flip_first=True) == DSA(flip_first=True)
    with pytest.raises(BadInput, match="flip_first adds mirror images, which change the class of this data"):
        DSA.for_split(Digits(), flip_first=True)


def test_flip_first_takes_flip_out_of_the_ops() -> None:
    assert DSA(flip_first=True).ops == ("color", "crop", "cutout", "scale", "rotate")
    assert DSA(ops=("flip",), flip_first=True).ops == ()


@pytest.mark.parametrize(("r", "mirrored"), [(0.49, True), (0.51, False)])
@pytest.mark.parametrize("op", [name for name in OPS if name != "flip"])
def test_flip_first_is_a_flip_and_then_the_op(images: Images, op: str, r: float, mirrored: bool) -> None:
    batch = images(2, 3, 6, 6)
    draw = drawn(flip=r, brightness=0.9, crop_down=0.1, cutout_row=0.3, scale_across=0.2, rotate=0.8)
    expected = DSA(ops=(op,)).apply(batch.flip(3) if mirrored else batch, draw)
    assert torch.equal(DSA(ops=(op, "flip"), flip_first=True).apply(batch, draw), expected)


@pytest.mark.parametrize("one_op_per", ["batch", "sample"])
def test_flip_first_mirrors_half_of_the_images_each_for_itself(
    images: Images, generator: torch.Generator, one_op_per: str
) -> None:
    dsa = DSA(ops=("crop",), crop=0.0, flip_first=True, one_op_per=one_op_per)
    batch = images(400, 1, 2, 4)
    out = dsa(batch, generator)
    mirrored = (out == batch.flip(3)).flatten(1).all(1)
    assert (mirrored | (out == batch).flatten(1).all(1)).all()
    assert 150 < int(mirrored.sum()) < 250  # 200, five standard deviations of 10


def test_a_shared_draw_flips_first_all_images_or_none(images: Images, generator: torch.Generator) -> None:
    dsa, batch, seen = DSA(ops=(), flip_first=True), images(3, 1, 2, 4), set()
    for _ in range(30):
        out = dsa.apply(batch, dsa.draw(3, (1, 2, 4), generator, shared=True))
        seen.add(torch.equal(out, batch.flip(3)))
        assert torch.equal(out, batch.flip(3)) or torch.equal(out, batch)
    assert seen == {True, False}


def test_flip_first_leaves_every_other_number_of_a_draw_in_its_place(generator: torch.Generator) -> None:
    state = generator.get_state()
    plain = DSA(ops=("color", "crop")).draw(5, (3, 8, 8), generator)
    first = DSA(ops=("color", "crop"), flip_first=True).draw(5, (3, 8, 8), generator.set_state(state))
    assert torch.equal(plain.uniform, first.uniform)
    assert plain.op == first.op


def test_a_dsa_without_ops_is_the_identity(images: Images, generator: torch.Generator) -> None:
    batch = images(2, 3, 4, 4)
    assert torch.equal(DSA(ops=("flip",)).without_flip()(batch, generator), batch)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ops": ("colour",)}, "unknown DSA op 'colour'; did you mean color?"),
        ({"ops": ("flip", "flip")}, "each DSA op stands once, got flip, flip"),
        ({"one_op_per": "image"}, "one_op_per must be 'batch' or 'sample', got 'image'"),
        ({"scale": 0.8}, "scale of DSA must lie in [1, inf], got 0.8"),
        ({"flip": 1.5}, "flip of DSA must lie in [0, 1], got 1.5"),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises((BadInput, UnknownName)) as caught:
        DSA(**fields)
    assert str(caught.value) == message
