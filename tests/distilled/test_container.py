from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from condense.data import Split
from condense.distilled import DistilledSet, HardLabels, Labels, Representations, SoftLabels
from condense.distilled.views import register
from condense.errors import BadInput, UnknownName
from condense.preprocessing import Preprocessing, fit, identity

Make = Callable[..., DistilledSet]


def test_float_images_are_handed_out_as_stored_and_pixels_are_preprocessed(
    make: Make, images: torch.Tensor, space: Preprocessing, train: Split
) -> None:
    pick = torch.tensor([4, 0])
    assert torch.equal(make().view().gather(pick), images[pick])
    half = make(stored=images.half()).view().gather(pick)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, images[pick].half().float(), rtol=0, atol=0)
    pixels = train.take(torch.arange(9))
    torch.testing.assert_close(make(stored=pixels).view().gather(pick), space.forward(pixels[pick]))


def test_a_set_keeps_its_images_when_the_optimiser_goes_on(make: Make, images: torch.Tensor) -> None:
    learned = images.clone().requires_grad_()
    made = make(stored=learned)
    with torch.no_grad():
        learned.zero_()
    assert made.images is not None
    assert not made.images.requires_grad
    assert torch.equal(made.images, images)


def test_a_selection_gathers_the_real_images_with_their_labels(train: Split, space: Preprocessing) -> None:
    indices = torch.tensor([7, 3, 50])
    made = DistilledSet.selection(indices, train, space)
    torch.testing.assert_close(made.view().gather(torch.tensor([2, 0])), space.forward(train.take([50, 7])))
    assert made.labels.hard().tolist() == [1, 0, 2]


def test_an_unbound_selection_says_how_to_bind_it(train: Split, space: Preprocessing) -> None:
    made = replace(DistilledSet.selection(torch.arange(3), train, space), bound=None)
    with pytest.raises(BadInput, match=r"bind\(train\)"):
        made.view().gather(torch.tensor([0]))
    torch.testing.assert_close(made.bind(train).view().gather(torch.tensor([1])), space.forward(train.take([1])))


def test_a_selection_does_not_bind_to_another_split(train: Split, space: Preprocessing) -> None:
    made = DistilledSet.selection(torch.arange(3), train, space)
    with pytest.raises(BadInput, match="load the data set that it was made from"):
        made.bind(train.subset(range(10)))


def test_a_selection_lies_inside_the_split(train: Split, space: Preprocessing) -> None:
    with pytest.raises(BadInput, match="reaches image 60, the split has 60"):
        DistilledSet.selection(torch.tensor([0, 60]), train, space)
    with pytest.raises(BadInput, match="start at 0, found -1"):
        DistilledSet.selection(torch.tensor([-1]), train, space)


def test_a_mirror_view_stands_for_twice_the_images_for_the_same_bytes(make: Make, images: torch.Tensor) -> None:
    labels = HardLabels(torch.arange(9).repeat(2) // 3)
    made = make(labels, expansion={"kind": "mirror"})
    assert len(made) == 9
    assert len(made.view()) == 18
    expected = torch.stack([images[1], images[1].flip(2), images[8].flip(2)])
    assert torch.equal(made.view().gather(torch.tensor([1, 10, 17])), expected)
    assert made.bytes().images == images.numel() * 4


def test_an_expanding_view_can_be_added_and_never_holds_more_than_the_batch(
    train: Split, space: Preprocessing, images: torch.Tensor
) -> None:
    class Composed:
        """K images and M compensators as K·(M+1) images; refuses to make more than a batch."""

        def __init__(self, stored: object, extras: object, expansion: object):
            self.stored, self.compensators = stored, extras["compensators"]  # type: ignore[index]

        def __len__(self) -> int:
            return len(self.stored) * (len(self.compensators) + 1)  # type: ignore[arg-type]

        def gather(self, indices: torch.Tensor, device: object = None) -> torch.Tensor:
            assert len(indices) <= 2
            base = self.stored.prepare(self.stored.raw(indices % len(self.stored)))  # type: ignore[attr-defined, arg-type]
            group = indices // len(self.stored)  # type: ignore[arg-type]
            return base + self.compensators[(group - 1).clamp(min=0)] * (group > 0)[:, None, None, None]

    register("composed", Composed)  # type: ignore[arg-type]
    many = 1_000_000
    compensators = torch.ones(1, *images.shape[1:]).expand(many, -1, -1, -1)
    labels = HardLabels(torch.zeros(1, dtype=torch.int64).expand(9 * (many + 1)))
    made = DistilledSet(
        images, None, labels, train.classes, space, extras={"compensators": compensators},
        expansion={"kind": "composed"},
    )  # fmt: skip
    assert len(made.view()) == 9 * (many + 1)
    torch.testing.assert_close(
        made.view().gather(torch.tensor([5, 9 * many + 5])), torch.stack([images[5], images[5] + 1])
    )


def test_an_unknown_expansion_names_the_nearest(make: Make) -> None:
    with pytest.raises(UnknownName, match="did you mean mirror"):
        make(expansion={"kind": "miror"})


def test_bytes_count_every_part(train: Split, images: torch.Tensor) -> None:
    whitening = fit("zca", train)
    made = DistilledSet.synthetic(
        images.half(), SoftLabels(torch.full((9, 3), 1 / 3)), train, whitening, extras={"bias": torch.zeros(5)}
    )
    size = made.bytes()
    assert (size.images, size.labels, size.extras) == (9 * 144 * 2, 9 * 3 * 4, 20)
    assert size.preprocessing == whitening.nbytes() > 2 * 144 * 144 * 4
    assert size.total == size.images + size.labels + size.extras + size.preprocessing


def test_a_selection_counts_the_pixels_that_its_user_keeps(train: Split, space: Preprocessing) -> None:
    assert DistilledSet.selection(torch.arange(4), train, space).bytes().images == 4 * 144


def test_the_training_view_says_nothing_of_the_making(make: Make) -> None:
    made = make(step_size=0.02)
    view = made.training_view()
    assert set(vars(view)) == {"view", "labels", "preprocessing", "step_size", "classes", "offers"}
    assert "dm" not in repr(vars(view.view))
    assert (len(view), view.n_classes, view.step_size) == (9, 3, 0.02)
    assert torch.equal(view.gather(torch.tensor([3])), made.view().gather(torch.tensor([3])))


def test_a_set_offers_what_its_labels_are(make: Make, labels: Labels) -> None:
    offers = make(labels).offers()
    expected = {
        "hard": {"hard"}, "soft": {"soft", "hard"}, "representation": {"representation"},
        "replayed": {"replay"}, "teacher": {"teacher"}, "quantised": {"soft", "hard"}, "regions": {"replay"},
        "committee": {"teacher"},
    }  # fmt: skip
    known = {"hard"} if getattr(labels, "classes", None) is not None else set()
    assert offers.labels == expected[labels.kind] | known
    assert offers.views == ("set" if labels.kind in ("replayed", "regions") else "protocol")
    assert not offers.step_size
    assert make(step_size=0.1).offers().step_size


def test_the_identity_ignores_volatile_facts_and_nothing_else(make: Make, images: torch.Tensor) -> None:
    made = make()
    same = make(provenance={**made.provenance, "volatile": {"seconds": 99.0}})
    assert made.id == same.id
    nudged = images.clone()
    nudged[8, 2, 5, 7] += 1e-6
    others = [
        make(stored=nudged),
        make(stored=images.half()),
        make(HardLabels(torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 1]))),
        make(step_size=0.01),
        make(step_size=0.02),
        make(extras={"a": torch.zeros(2)}),
        make(extras={"b": torch.zeros(2)}),
        make(extras={"a": torch.zeros(2, 1)}),
        make(provenance={**made.provenance, "seed": 1}),
        make(provenance={**made.provenance, "config": {"steps": 21}}),
        replace(made, classes=("apple", "brick", "stone")),
        replace(made, preprocessing=identity()),
        make(expansion={"kind": "plain", "strength": 2}),
        make(SoftLabels(torch.eye(3)[torch.arange(9) // 3])),
        make(SoftLabels(torch.eye(3)[torch.arange(9) // 3], "logits")),
        make(SoftLabels(torch.eye(3)[torch.arange(9) // 3], "logits", 2.0)),
    ]
    assert len({made.id, *(other.id for other in others)}) == len(others) + 1


def test_sets_of_equal_content_are_told_by_it_whatever_made_them(make: Make, images: torch.Tensor) -> None:
    made = make()
    again = make(provenance={**made.provenance, "seed": 1, "method": "other"})
    assert made.id != again.id
    assert made.content == again.content
    others = [make(stored=images.half()), make(step_size=0.01), replace(made, preprocessing=identity())]
    assert len({made.content, *(other.content for other in others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stored": torch.zeros(9, 3, 6)}, r"images are \(M, C, H, W\)"),
        ({"stored": torch.zeros(9, 3, 6, 8, dtype=torch.int32)}, "of torch.int32"),
        ({"stored": torch.full((9, 3, 6, 8), float("nan"))}, "not finite"),
        ({"stored": torch.zeros(0, 3, 6, 8), "labels": HardLabels(torch.zeros(0, dtype=torch.int64))}, "at least one"),
        ({"stored": torch.zeros(8, 3, 6, 8)}, "stands for 8 images, the labels are 9"),
        ({"labels": HardLabels(torch.arange(9))}, r"must lie in \[0, 3\)"),
        ({"labels": SoftLabels(torch.full((9, 4), 0.25))}, "4 classes, the names are 3"),
        ({"step_size": -0.1}, "positive and finite, got -0.1"),
        ({"step_size": float("nan")}, "positive and finite"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make: Make, change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make(**change)


def test_a_set_holds_images_or_a_selection(train: Split, space: Preprocessing) -> None:
    with pytest.raises(BadInput, match="got neither"):
        DistilledSet(None, None, HardLabels(torch.zeros(1, dtype=torch.int64)), train.classes, space)


def test_provenance_is_plain_values(make: Make) -> None:
    with pytest.raises(TypeError, match="plain values"):
        make(provenance={"config": object()})


def test_a_set_is_a_torch_dataset_in_one_call(make: Make, images: torch.Tensor) -> None:
    data = make().as_dataset()
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    batches = list(loader)
    assert torch.equal(torch.cat([batch for batch, _ in batches]), images)
    assert torch.cat([target for _, target in batches]).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert torch.equal(data[-1][0], images[8])
    with pytest.raises(IndexError, match="image 9 was asked for"):
        data[9]


def test_soft_targets_of_the_dataset_are_distributions(make: Make) -> None:
    logits = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    target = make(SoftLabels(logits, "logits", 2.0)).as_dataset()[4][1]
    torch.testing.assert_close(target, (logits[4] / 2).softmax(0))
    vectors = torch.randn(9, 5)
    assert torch.equal(make(Representations(vectors)).as_dataset()[2][1], vectors[2])


def test_labels_that_belong_to_views_cannot_be_listed(make: Make, replayed: Labels) -> None:
    with pytest.raises(BadInput, match=r"train on training_view\(\)"):
        make(replayed).as_dataset()


def test_the_test_transform_agrees_on_every_form_of_an_image(make: Make, train: Split, space: Preprocessing) -> None:
    from PIL import Image

    transform = make().as_dataset().test_transform
    pixels = train.take([0, 1])
    expected = space.forward(pixels)
    array = pixels[0].permute(1, 2, 0).numpy()
    torch.testing.assert_close(transform(pixels), expected)
    torch.testing.assert_close(transform(pixels[0]), expected[0])
    torch.testing.assert_close(transform(array), expected[0])
    torch.testing.assert_close(transform(Image.fromarray(array)), expected[0])
    torch.testing.assert_close(transform(pixels[0].float() / 255), expected[0])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 8, 6, dtype=torch.uint8), "resize them first"),
        (torch.full((3, 6, 8), 2.0), "give pixels, not normalised values"),
        (torch.zeros(3, 6, 8, dtype=torch.int64), "convert them first"),
    ],
)
def test_the_test_transform_refuses_what_it_would_have_to_guess(make: Make, image: torch.Tensor, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make().as_dataset().test_transform(image)
