"""What holds for every augmentation: draws, devices and dtypes, memory formats, specifications, refusals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from condense.augment import (
    DSA,
    Augmentation,
    CropFlip,
    CutMix,
    MixUp,
    NoAugmentation,
    RandomResizedCrop,
    from_spec,
    mixing_from_spec,
)
from condense.errors import BadInput, UnknownName

ALL = [DSA(), DSA(one_op_per="sample"), CropFlip(), RandomResizedCrop(), NoAugmentation()]
Images = Callable[..., Tensor]
every = pytest.mark.parametrize("augmentation", ALL, ids=lambda one: f"{one.kind}-{getattr(one, 'one_op_per', '')}")


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every
def test_calling_is_drawing_and_applying(images: Images, augmentation: Augmentation) -> None:
    batch = images(6, 3, 8, 8)
    draw = augmentation.draw(6, (3, 8, 8), seeded())
    assert torch.equal(augmentation(batch, seeded()), augmentation.apply(batch, draw))


@every
def test_draws_depend_on_the_generator_alone(augmentation: Augmentation) -> None:
    torch.manual_seed(1)
    first = augmentation.draw(6, (3, 8, 8), seeded())
    before = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        second = augmentation.draw(6, (3, 8, 8), seeded())
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.uniform, second.uniform)
    assert str(first.op) == str(second.op)


@every
def test_dtype_and_shape_follow_the_images_and_precisions_agree(images: Images, augmentation: Augmentation) -> None:
    double = images(6, 3, 8, 8)
    draw = augmentation.draw(6, (3, 8, 8), seeded())
    single = augmentation.apply(double.float(), draw)
    assert single.dtype == torch.float32
    assert single.shape == double.shape
    # Float32 rounding of sampling places, times the slope between neighbouring random pixels.
    torch.testing.assert_close(single.double(), augmentation.apply(double, draw), rtol=0, atol=1e-5)


@every
def test_channels_last_images_give_the_same_values(images: Images, augmentation: Augmentation) -> None:
    batch = images(6, 3, 8, 8)
    draw = augmentation.draw(6, (3, 8, 8), seeded())
    strided = augmentation.apply(batch.contiguous(memory_format=torch.channels_last), draw)
    torch.testing.assert_close(strided, augmentation.apply(batch, draw), rtol=0, atol=1e-12)


@every
def test_images_are_not_changed_in_place(images: Images, augmentation: Augmentation) -> None:
    batch = images(6, 3, 8, 8)
    augmentation(batch, seeded())
    assert torch.equal(batch, images(6, 3, 8, 8))


@every
def test_shared_draws_are_constant_over_the_batch(images: Images, augmentation: Augmentation) -> None:
    for seed in range(12):
        draw = augmentation.draw(4, (3, 8, 8), seeded(seed), shared=True)
        out = augmentation.apply(images(1, 3, 8, 8).expand(4, -1, -1, -1), draw)
        assert all(torch.equal(image, out[0]) for image in out)


@every
def test_a_draw_for_another_number_of_images_is_refused(images: Images, augmentation: Augmentation) -> None:
    draw = augmentation.draw(4, (3, 8, 8), seeded())
    with pytest.raises(BadInput, match=r"the draw is for 4 images, got 6; draw with count=6 or shared=True"):
        augmentation.apply(images(6, 3, 8, 8), draw)


@every
def test_raw_bytes_are_refused(augmentation: Augmentation) -> None:
    draw = augmentation.draw(2, (3, 8, 8), seeded())
    with pytest.raises(BadInput, match=r"got torch.uint8 of shape \(2, 3, 8, 8\); preprocess and batch them first"):
        augmentation.apply(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), draw)


@every
def test_an_empty_batch_is_refused(augmentation: Augmentation) -> None:
    with pytest.raises(BadInput, match="there are no images to augment; give at least one"):
        augmentation(torch.zeros(0, 3, 8, 8), seeded())


@every
def test_gradients_pass_through_torch_func(images: Images, augmentation: Augmentation) -> None:
    batch, weights = images(4, 2, 4, 4), images(4, 2, 4, 4).flip(0)
    draw = augmentation.draw(4, (2, 4, 4), seeded())
    functional = torch.func.grad(lambda x: (augmentation.apply(x, draw) * weights).sum())(batch)
    leaf = batch.clone().requires_grad_()
    (eager,) = torch.autograd.grad((augmentation.apply(leaf, draw) * weights).sum(), leaf)
    torch.testing.assert_close(functional, eager, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "one",
    [*ALL, DSA(flip_first=True), DSA(ops=("crop",), rotate=3.0), RandomResizedCrop(scale=(0.5, 1.0)), CropFlip(2)],
)
def test_specifications_survive_json(one: Augmentation) -> None:
    assert from_spec(json.loads(json.dumps(one.spec()))) == one


@pytest.mark.parametrize("mixing", [CutMix(), MixUp(alpha=0.8, probability=0.5)])
def test_mixes_survive_json(mixing: CutMix | MixUp) -> None:
    assert mixing_from_spec(json.loads(json.dumps(mixing.spec()))) == mixing


def test_fields_left_out_of_a_specification_have_their_defaults() -> None:
    assert from_spec({"kind": "dsa"}) == DSA()
    assert from_spec({"kind": "crop-flip", "padding": 2}) == CropFlip(padding=2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "das"}, "unknown augmentation 'das'; did you mean dsa?"),
        ({"kind": "cutmix"}, "unknown augmentation 'cutmix'; known: crop-flip, dsa, none, random-resized-crop"),
        ({"kind": "dsa", "rotat": 3}, "unknown field of dsa 'rotat'; did you mean rotate or contrast?"),
        ({"kind": "dsa", "rotate": "15"}, "rotate of dsa must be a float, got '15'"),
        ({"kind": "crop-flip", "padding": True}, "padding of crop-flip must be a int, got True"),
        ({"ops": []}, "the specification of augmentation is a mapping with a kind"),
    ],
)
def test_unknown_kinds_and_fields_are_refused_with_the_nearest_names(spec: dict[str, object], message: str) -> None:
    with pytest.raises((BadInput, UnknownName)) as caught:
        from_spec(spec)
    assert str(caught.value).startswith(message)


def test_augmentations_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CropFlip().padding = 3  # type: ignore[misc]
