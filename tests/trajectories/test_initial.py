"""The choice of initial images and labels, with experts whose answers are written down."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from condense.data import Split
from condense.preprocessing import identity
from condense.trajectories import averaged_logits, correctly_classified, representative


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _split() -> Split:
    """Twelve images; all pixels of an image are its number, which is 4 * class + position."""
    pixels = torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    return Split.from_arrays(pixels.contiguous(), torch.arange(12) // 4, ["a", "b", "c"])


def _knowing(*numbers: int) -> Callable[[Tensor], Tensor]:
    """An expert that is right on these images of the split, and takes any other for the next class."""

    def answer(images: Tensor) -> Tensor:
        number = (images[:, 0, 0, 0] * 255).round().long()
        right = torch.isin(number, torch.tensor(numbers))
        return one_hot(torch.where(right, number // 4, (number // 4 + 1) % 3), 3).float()

    return answer


def test_initial_images_are_those_that_the_first_expert_recognises() -> None:
    found = correctly_classified(_split(), identity(), [2, 2, 1], [_knowing(1, 3, 4, 6, 7, 11)], _generator())
    assert found.strangers == 0
    rows = found.indices.tolist()
    assert sorted(rows[:2]) == [1, 3]
    assert set(rows[2:4]) < {4, 6, 7}
    assert rows[4:] == [11]


def test_the_next_expert_helps_where_the_first_recognises_too_few() -> None:
    experts = [_knowing(1, 4, 8), _knowing(1, 2, 5, 9)]
    found = correctly_classified(_split(), identity(), [2, 2, 1], experts, _generator())
    assert found.indices.tolist() == [1, 2, 4, 5, 8]
    assert found.strangers == 0


def test_images_that_nobody_recognises_fill_up_and_are_counted() -> None:
    found = correctly_classified(_split(), identity(), [3, 1, 1], [_knowing(2, 5), _knowing(2, 5)], _generator())
    assert found.indices[0] == 2
    assert found.strangers == 3
    assert found.indices.unique().numel() == 5
    assert (found.indices // 4).tolist() == [0, 0, 0, 1, 2]


def test_another_generator_chooses_other_images() -> None:
    choices = {
        tuple(correctly_classified(_split(), identity(), [1, 1, 1], [_knowing(*range(12))], _generator(seed)).indices)
        for seed in range(5)
    }
    assert len(choices) > 1


def test_labels_average_over_the_experts_that_are_right() -> None:
    logits = torch.tensor(
        [
            [[3.0, 1.0, 0.0], [0.0, 2.0, 9.0]],  # right, wrong
            [[5.0, 0.0, 2.0], [1.0, 6.0, 0.0]],  # right, right
            [[0.0, 9.0, 0.0], [0.0, 4.0, 2.0]],  # wrong, right
        ]
    )
    images = torch.zeros(2, 1, 2, 2)
    labels = averaged_logits(images, torch.tensor([0, 1]), [lambda _, rows=rows: rows for rows in logits])
    assert torch.equal(labels, torch.tensor([[4.0, 0.5, 1.0], [0.5, 5.0, 1.0]]))


def test_a_label_that_no_expert_gives_is_the_mean_of_all_with_two_entries_exchanged() -> None:
    logits = torch.tensor([[[0.0, 4.0, 1.0]], [[1.0, 2.0, 3.0]]])
    answers = [lambda _, rows=rows: rows for rows in logits]
    labels = averaged_logits(torch.zeros(1, 1, 2, 2), torch.tensor([0]), answers)
    assert torch.equal(labels, torch.tensor([[3.0, 0.5, 2.0]]))  # the mean is 0.5, 3, 2


def test_representative_images_are_one_of_each_cluster_of_logits() -> None:
    def answer(images: Tensor) -> Tensor:  # images 0 and 1 of a class lie together, 2 and 3 elsewhere
        position = (images[:, 0, 0, 0] * 255).round() % 4
        return torch.stack([10.0 * (position >= 2) + 0.1 * position, position * 0, position * 0], 1)

    rows = representative(_split(), identity(), [2, 2, 2], answer, _generator())
    assert (rows // 4).tolist() == [0, 0, 1, 1, 2, 2]
    assert [sorted((row % 4 // 2).tolist()) for row in rows.split(2)] == [[0, 1]] * 3


def test_representative_images_work_with_one_image_per_class() -> None:
    rows = representative(_split(), identity(), [1, 1, 1], lambda images: images.flatten(1), _generator())
    assert (rows // 4).tolist() == [0, 1, 2]
    assert ((rows % 4 == 1) | (rows % 4 == 2)).all()  # the mean of 0, 1, 2, 3 is 1.5
