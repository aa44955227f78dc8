"""Ingredients of the matching methods against closed forms and plain loops."""

from __future__ import annotations

import pytest
import torch

from condense.budget import Budget
from condense.data import Split
from condense.errors import BadInput
from condense.matching import (
    RealBatches,
    averaging,
    gradient_distance,
    initial_images,
    mean_embeddings,
    random_indices,
    spatial_attention,
    squared_gap,
)
from condense.preprocessing import identity, normalise


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _split(counts: tuple[int, ...] = (5, 3, 9)) -> Split:
    """Images whose every pixel is 10 * class + position within the class; classes shuffled together."""
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    values = torch.cat([10 * label + torch.arange(count) for label, count in enumerate(counts)])
    order = torch.randperm(len(labels), generator=_generator())
    pixels = values[order].to(torch.uint8)[:, None, None, None].expand(-1, 2, 4, 3)
    return Split.from_arrays(pixels.contiguous(), labels[order], ["a", "b", "c"])


def _values(images: torch.Tensor) -> torch.Tensor:
    """The number that each image stands for."""
    return (images.flatten(-3).mean(-1) * 255).round().long()


def test_real_batches_hold_each_class_in_its_row() -> None:
    batch = RealBatches(_split(), identity()).draw(2, _generator())
    assert batch.shape == (3, 2, 2, 4, 3)
    assert torch.equal(_values(batch) // 10, torch.tensor([[0, 0], [1, 1], [2, 2]]))


def test_no_image_repeats_before_its_class_is_through() -> None:
    batch = _values(RealBatches(_split(), identity()).draw(7, _generator()))
    assert batch[0, :5].unique().numel() == 5
    assert torch.equal(batch[0, 5:], batch[0, :2])
    assert batch[1, :3].unique().numel() == 3
    assert torch.equal(batch[1, 3:6], batch[1, :3])
    assert batch[2].unique().numel() == 7


def test_real_batches_draw_every_image_about_equally_often() -> None:
    real = RealBatches(_split(), identity())
    counts = torch.zeros(30)
    for seed in range(600):
        counts += torch.bincount(_values(real.draw(2, _generator(seed))).flatten(), minlength=30)
    # 2 of 9 in each of 600 draws: 133 expected, standard deviation 10; five of them on either side.
    assert counts[20:29].sub(600 * 2 / 9).abs().max() < 50


def test_whole_preprocessing_equals_preprocessing_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    from condense import preprocessing

    split = _split()
    space = preprocessing.fit("zca", split)
    resident = RealBatches(split, space).draw(3, _generator(4))
    by_batch = RealBatches(split, space, resident_bytes=0).draw(3, _generator(4))
    torch.testing.assert_close(resident, by_batch, rtol=0, atol=1e-5)  # float32 products of other sizes


def test_a_class_without_an_image_is_named() -> None:
    split = Split.from_arrays(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), [0, 0], ["kept", "empty"])
    with pytest.raises(BadInput, match="class 'empty' has no training image"):
        RealBatches(split, identity())


def test_real_initial_images_are_distinct_real_images_sorted_by_class() -> None:
    images, labels = initial_images(_split(), Budget(ipc=3), normalise((0.0, 0.0), (1.0, 1.0)), _generator(), "real")
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    values = _values(images)
    assert values.unique().numel() == 9
    assert torch.equal(values // 10, labels)


def test_noise_is_standard_normal_and_ignores_the_images() -> None:
    images, _ = initial_images(_split((200, 200, 200)), Budget(ipc=200), identity(), _generator(), "noise")
    # 14,400 draws: the standard error of the mean is 0.0083, of the deviation 0.0059; five of them.
    assert abs(images.mean()) < 0.042
    assert abs(images.std() - 1) < 0.03


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(BadInput, match="initial must be 'real' or 'noise', got 'zeros'"):
        initial_images(_split(), Budget(ipc=1), identity(), _generator(), "zeros")  # type: ignore[arg-type]


def test_random_indices_take_the_counts_asked_for() -> None:
    split = _split()
    rows = random_indices(split, (1, 3, 2), _generator())
    assert torch.bincount(split.labels[rows]).tolist() == [1, 3, 2]
    assert rows.unique().numel() == 6


def test_averaging_is_the_mean_of_each_class() -> None:
    labels = torch.tensor([0, 1, 1, 0, 1])
    features = torch.tensor([[1.0], [2.0], [4.0], [3.0], [6.0]])
    assert (averaging(labels, 2) @ features).flatten().tolist() == [2.0, 4.0]


def test_mean_embeddings_do_not_depend_on_the_chunk() -> None:
    batch = torch.randn(3, 5, 2, 4, 4, dtype=torch.float64, generator=_generator())
    embed = lambda images: images.flatten(1).square()  # noqa: E731
    whole = mean_embeddings(embed, batch, None)
    assert whole.shape == (3, 32)
    torch.testing.assert_close(whole, batch.flatten(2).square().mean(1), rtol=1e-12, atol=0)
    torch.testing.assert_close(mean_embeddings(embed, batch, 4), whole, rtol=1e-12, atol=0)


def test_squared_gap_sums_over_every_axis() -> None:
    assert float(squared_gap(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, -2.0]]))) == 25.0


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0, 4.0])
def test_attention_is_the_unit_vector_of_summed_powers(power: float) -> None:
    maps = torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=_generator())
    expected = torch.stack([sum(channel.abs() ** power for channel in image).flatten() for image in maps])
    expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(spatial_attention(maps, power), expected, rtol=1e-12, atol=0)


def test_attention_does_not_see_the_scale_of_a_map() -> None:
    maps = torch.rand(2, 3, 4, 4, dtype=torch.float64, generator=_generator())
    torch.testing.assert_close(spatial_attention(7.5 * maps, 4.0), spatial_attention(maps, 4.0))


def test_attention_of_half_precision_does_not_overflow() -> None:
    attention = spatial_attention(torch.full((1, 2, 2, 2), 300.0, dtype=torch.float16), 4.0)  # 300^4 is beyond 65504
    torch.testing.assert_close(attention, torch.full((1, 4), 0.5))


def test_attention_of_a_silent_map_is_zero_with_a_finite_gradient() -> None:
    maps = torch.zeros(1, 2, 2, 2, requires_grad=True)
    attention = spatial_attention(maps, 4.0)
    attention.sum().backward()
    assert not attention.detach().any()
    assert maps.grad is not None
    assert bool(torch.isfinite(maps.grad).all())


def test_attention_passes_gradcheck() -> None:
    maps = torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=_generator()).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spatial_attention(x, 4.0), (maps,))


def test_gradient_distance_counts_rows_by_their_angle() -> None:
    real = [torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64), torch.tensor([5.0], dtype=torch.float64)]
    same = [2 * tensor for tensor in real]
    turned = [torch.tensor([[0.0, 3.0], [0.0, -1.0]], dtype=torch.float64), torch.tensor([-5.0], dtype=torch.float64)]
    assert float(gradient_distance(real, same)) == pytest.approx(0.0, abs=2e-6)  # the guard against zero length
    assert float(gradient_distance(real, turned)) == pytest.approx(1.0 + 2.0, abs=2e-6)


def test_gradient_distance_of_convolutions_takes_one_row_for_each_filter() -> None:
    real = torch.randn(4, 3, 2, 2, dtype=torch.float64, generator=_generator())
    synthetic = torch.randn(4, 3, 2, 2, dtype=torch.float64, generator=_generator(1))
    expected = sum(
        1 - torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)
        for a, b in zip(real, synthetic, strict=True)
    )
    assert float(gradient_distance([real], [synthetic])) == pytest.approx(float(expected), abs=1e-5)
