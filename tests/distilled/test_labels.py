from __future__ import annotations

from typing import Any

import pytest
import torch
from device_traffic import AWAY, watched

from condense import networks
from condense.distilled import HardLabels, Labels, ReplayedLabels, Representations, SoftLabels, TeacherLabels
from condense.distilled.labels import LabelSpec, register, restore
from condense.errors import BadInput, UnknownName

PICK = torch.tensor([2, 0, 2])


def test_every_kind_answers_the_protocol(labels: Labels) -> None:
    assert isinstance(labels, Labels)
    assert labels.spec()["kind"] == labels.kind
    batch = labels.view(0, 0, PICK)
    assert batch.target is None or len(batch.target) == len(batch.indices)


def test_a_batch_of_labels_waits_for_no_device(labels: Labels) -> None:
    # Networks cannot be rebuilt from weights without values; batches hold nothing of them.
    moved = labels if labels.kind in ("teacher", "committee") else labels.to(AWAY)
    indices = PICK.to(AWAY)
    with watched() as waits:
        batch = moved.view(0, 0, indices)
    assert waits == []
    assert batch.indices.device == AWAY
    assert batch.norm_group is None or batch.norm_group.device.type == "cpu"  # loops over groups look at them


def test_bytes_are_those_of_all_stored_tensors(labels: Labels) -> None:
    stored = [labels.tensors(), *(tensors for _, tensors in labels.files())]
    assert labels.nbytes() == sum(t.numel() * t.element_size() for tensors in stored for t in tensors.values())
    assert labels.nbytes() > 0


def test_hard_labels_hand_out_classes_of_the_images_asked_for() -> None:
    batch = HardLabels(torch.tensor([5, 6, 7], dtype=torch.int32)).view(4, 1, PICK)
    assert batch.target is not None
    assert batch.target.tolist() == [7, 5, 7]
    assert batch.target.dtype == torch.int64
    assert batch.form == "hard"
    assert torch.equal(batch.indices, PICK)


def test_logits_divided_by_their_temperature_have_the_distribution_meant_as_softmax() -> None:
    values = torch.tensor([[0.0, 2.0], [1.0, 1.0], [4.0, 0.0]])
    batch = SoftLabels(values, "logits", temperature=2.0).view(0, 0, PICK)
    assert batch.target is not None
    assert batch.form == "logits"
    # softmax of (2, 0) is 1 / (1 + e^-2).
    torch.testing.assert_close(batch.target[0].softmax(0)[0], 1 / (1 + torch.tensor(-2.0).exp()))


def test_half_precision_labels_are_handed_out_in_single_precision() -> None:
    rows = torch.tensor([[0.25, 0.75]] * 3).half()
    assert SoftLabels(rows).view(0, 0, PICK).target.dtype == torch.float32  # type: ignore[union-attr]
    assert Representations(rows).view(0, 0, PICK).target.dtype == torch.float32  # type: ignore[union-attr]
    assert Representations(rows.double()).view(0, 0, PICK).target.dtype == torch.float64  # type: ignore[union-attr]


def test_the_hard_label_of_a_distribution_is_its_most_likely_class() -> None:
    assert SoftLabels(torch.tensor([[0.2, 0.8], [0.9, 0.1]])).hard().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.tensor([0.0, 1.0]), "vector of whole numbers"),
        (torch.eye(3).long(), "use SoftLabels"),
        (torch.tensor([True, False]), "vector of whole numbers"),
        (torch.tensor([0, 3]), r"must lie in \[0, 3\), found 0 to 3"),
        (torch.tensor([-1, 2]), "found -1 to 2"),
    ],
)
def test_labels_that_are_no_classes_are_refused(values: torch.Tensor, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        HardLabels(values, 3)


@pytest.mark.parametrize(
    ("values", "form", "temperature", "message"),
    [
        (torch.tensor([[2.0, -1.0]]), "probabilities", 1.0, 'form="logits"'),
        (torch.tensor([[0.5, 0.6]]), "probabilities", 1.0, "add up to 1"),
        (torch.tensor([[1, 0]]), "probabilities", 1.0, "floating-point matrix"),
        (torch.tensor([0.5]), "probabilities", 1.0, "row per image"),
        (torch.tensor([[float("nan"), 0.0]]), "logits", 1.0, "not finite"),
        (torch.tensor([[1.0, 0.0]]), "odds", 1.0, "got 'odds'"),
        (torch.tensor([[1.0, 0.0]]), "logits", 0.0, "temperature"),
    ],
)
def test_soft_labels_that_are_not_what_they_say_are_refused(
    values: torch.Tensor, form: str, temperature: float, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        SoftLabels(values, form, temperature)  # type: ignore[arg-type]


def test_replayed_labels_dictate_indices_and_views_and_go_round(replayed: ReplayedLabels) -> None:
    stored = replayed.shards.read(1)
    batch = replayed.view(4, 1, PICK)  # epoch 4 of 3 is epoch 1 again
    assert torch.equal(batch.indices, stored["indices"][4:8])
    assert torch.equal(batch.crop, stored["crop"][4:8])  # type: ignore[arg-type]
    assert torch.equal(batch.flip, stored["flip"][4:8])  # type: ignore[arg-type]
    assert torch.equal(batch.norm_group, stored["norm_group"][4:8])  # type: ignore[arg-type]
    torch.testing.assert_close(batch.target, stored["target"][4:8].float() / 20.0)
    assert batch.mix is not None
    assert torch.equal(batch.mix.partner, stored["partner"][4:8])
    assert batch.mix.weight == stored["mix_weight"][1]
    assert torch.equal(batch.mix.box, stored["mix_box"][1])  # type: ignore[arg-type]


def test_the_last_step_of_a_replayed_epoch_may_be_short_and_a_box_without_area_is_no_box(
    replayed: ReplayedLabels,
) -> None:
    assert replayed.steps(0) == 3
    batch = replayed.view(0, 2, PICK)
    assert len(batch.indices) == 2
    assert batch.mix is not None
    assert batch.mix.box is None
    with pytest.raises(BadInput, match="has 3 steps, step 3 was asked"):
        replayed.view(0, 3, PICK)


def test_a_replayed_epoch_is_read_once_for_all_its_steps(replayed: ReplayedLabels) -> None:
    reads: list[int] = []

    class Counting:
        def __len__(self) -> int:
            return 3

        def read(self, index: int) -> dict[str, torch.Tensor]:
            reads.append(index)
            return dict(replayed.shards.read(index))

    counted = ReplayedLabels(Counting(), batch=4)
    for step in range(3):
        counted.view(1, step, PICK)
    assert reads == [0, 1]  # epoch 0 is read to check the store


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": None}, "lacks target"),
        ({"colour": torch.zeros(10)}, "holds colour"),
        ({"partner": None}, "only a part of partner"),
        ({"crop": torch.zeros(9, 4)}, "9 rows of crop, expected 10"),
        ({"mix_weight": torch.zeros(10)}, "10 rows of mix_weight, expected 3"),
        ({"target": torch.zeros(10, dtype=torch.int64)}, "floating-point row"),
    ],
)
def test_a_replayed_epoch_whose_fields_do_not_fit_is_refused(
    replayed: ReplayedLabels, change: dict[str, torch.Tensor | None], message: str
) -> None:
    fields = {**replayed.shards.read(0), **change}
    broken = {name: value for name, value in fields.items() if value is not None}
    with pytest.raises(BadInput, match=f"epoch 0 of the replayed labels .*{message}"):
        ReplayedLabels([broken], batch=4)


TEN = torch.arange(10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": torch.full((10, 3), float("nan"))}, "values of target that are not finite"),
        ({"target": torch.full((10, 3), float("inf")).half()}, "values of target that are not finite"),
        ({"indices": torch.tensor(0)}, r"indices of shape \(\)"),
        ({"indices": TEN - 1}, "indices from -1 to 8, expected at least 0"),
        ({"indices": TEN.float()}, "indices of torch.float32, expected whole numbers"),
        ({"crop": torch.rand(10, 3)}, r"crop of shape \(10, 3\), expected \(10, 4\)"),
        ({"crop": torch.full((10, 4), float("nan"))}, "values of crop that are not finite"),
        ({"flip": torch.zeros(10)}, "flip of torch.float32, expected true or false"),
        ({"partner": torch.full((10,), 4)}, "partner from 4 to 4, expected 0 to 3"),
        (
            {"partner": torch.tensor([3, 2, 1, 0, 3, 2, 1, 0, 2, 0])},
            "partner in the last step from 0 to 2, expected 0 to 1",
        ),
        ({"mix_weight": torch.full((3,), 1.5)}, "mix_weight from 1.5 to 1.5, expected 0 to 1"),
        ({"mix_box": torch.full((3, 4), -1)}, "mix_box from -1 to -1, expected at least 0"),
        ({"mix_box": torch.zeros(3, 3).long()}, r"mix_box of shape \(3, 3\)"),
    ],
)
def test_a_replayed_epoch_that_holds_what_it_cannot_is_refused(
    replayed: ReplayedLabels, change: dict[str, torch.Tensor], message: str
) -> None:
    sound = replayed.shards.read(0)
    with pytest.raises(BadInput, match=f"epoch 0 of the replayed labels has {message}"):
        ReplayedLabels([{**sound, **change}], batch=4)
    later = ReplayedLabels([sound, {**sound, **change}], batch=4)
    with pytest.raises(BadInput, match=f"epoch 1 of the replayed labels has {message}"):
        later.view(1, 0, PICK)


def test_replayed_probabilities_are_probabilities(replayed: ReplayedLabels) -> None:
    sound = {"indices": TEN % 9, "target": torch.full((10, 3), 1 / 3)}
    assert ReplayedLabels([sound], batch=4, form="probabilities").n_classes == 3
    for wrong in (torch.full((10, 3), 5.0), torch.full((10, 3), -1.0)):
        with pytest.raises(BadInput, match="expected 0 to 1"):
            ReplayedLabels([{**sound, "target": wrong}], batch=4, form="probabilities")
        ReplayedLabels([{**sound, "target": wrong}], batch=4)  # as logits they may be


def test_every_replayed_epoch_has_the_classes_of_the_first(replayed: ReplayedLabels) -> None:
    sound = replayed.shards.read(0)
    with pytest.raises(BadInput, match=r"epoch 1 .* targets of 5 classes, expected 3"):
        ReplayedLabels([sound, {**sound, "target": torch.zeros(10, 5)}], batch=4).view(1, 0, PICK)


def test_no_replayed_index_reaches_beyond_the_images_of_its_set(make: Any, replayed: ReplayedLabels) -> None:
    sound = replayed.shards.read(0)
    beyond = {**sound, "indices": TEN}  # of a set of nine images
    with pytest.raises(BadInput, match=r"epoch 0 .* indices from 0 to 9, expected 0 to 8"):
        make(ReplayedLabels([beyond], batch=4))
    with pytest.raises(BadInput, match=r"epoch 0 .* indices from 0 to 9, expected 0 to 8"):
        ReplayedLabels([beyond], batch=4, classes=torch.arange(9) // 3)
    made = make(ReplayedLabels([sound, beyond], batch=4))
    assert made.labels.count == 9
    with pytest.raises(BadInput, match=r"epoch 1 .* indices from 0 to 9, expected 0 to 8"):
        made.labels.view(1, 0, PICK)


def test_replayed_labels_need_an_epoch() -> None:
    with pytest.raises(BadInput, match="at least one epoch"):
        ReplayedLabels([], batch=4)


def test_a_teacher_answers_with_its_network_at_its_temperature(teacher: TeacherLabels) -> None:
    images = torch.randn(4, *teacher.shape, generator=torch.Generator().manual_seed(1))
    network = networks.build(teacher.network, teacher.shape, teacher.n_classes, torch.Generator().manual_seed(9))
    network.load_state_dict(dict(teacher.state))
    expected = (network.eval()(images) / 3.0).softmax(1)
    torch.testing.assert_close(teacher.targets_for(images), expected.detach())
    assert not teacher.targets_for(images).requires_grad
    assert teacher.view(0, 0, PICK).form == "teacher"


def test_a_teacher_whose_state_does_not_fit_is_refused(teacher: TeacherLabels) -> None:
    with pytest.raises(BadInput, match="does not fit 'convnet-d1:width=4'"):
        TeacherLabels(teacher.network, dict(list(teacher.state.items())[:-1]), teacher.shape, teacher.n_classes)


def test_labels_without_a_class_per_image_say_so(replayed: ReplayedLabels, teacher: TeacherLabels) -> None:
    for labels in (replayed, teacher, Representations(torch.zeros(2, 3))):
        with pytest.raises(BadInput, match="protocol"):
            labels.hard()


def test_an_unknown_kind_names_the_nearest(tmp_path: object) -> None:
    with pytest.raises(UnknownName, match="unknown label kind 'hart'; did you mean hard"):
        restore({"kind": "hart"}, {}, tmp_path)  # type: ignore[arg-type]


def test_a_kind_cannot_be_taken_twice() -> None:
    with pytest.raises(BadInput, match="'hard' is taken"):
        register("hard", LabelSpec, lambda spec, tensors, folder: HardLabels(tensors["x"]))
