"""Labels for every epoch: the answers written out, streamed, interrupted and judged on."""

from __future__ import annotations

import dataclasses
import errno
import sys
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from label_cases import CLASSES, COUNT

from condense import disk, files
from condense.augment import MixUp, mix_targets
from condense.distilled import DistilledSet
from condense.distilled.labels import Codec, Committee, Regions
from condense.distilled.views import PlainView
from condense.errors import BadInput
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.soft_labels import Calibration, per_epoch
from condense.soft_labels.per_epoch import step_images
from condense.training import Loss, Recipe, Resident
from condense.training.batches import Batches
from condense.training.replay import replay_mix, replay_view

Wise = Callable[..., Committee]
Rule = Callable[..., Regions]
Open = Callable[..., Run]
LABELS = torch.arange(COUNT) // 3
PICK = torch.zeros(1, dtype=torch.int64)


def test_an_answer_is_the_committees_to_the_mixed_region(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open
) -> None:
    labels = per_epoch(view, rule(), wise(), 2, open_run())
    for epoch, step in ((0, 0), (1, 1)):
        batch = labels.view(epoch, step, PICK)
        images = replay_view(view.gather(batch.indices), batch.crop, batch.flip)
        asked = wise().logits_for(replay_mix(images, batch.mix))  # type: ignore[arg-type]
        torch.testing.assert_close(batch.target, asked, rtol=2e-3, atol=1e-3)  # stored in half precision
        assert (batch.form, labels.temperature) == ("logits", 1.0)


def test_a_student_meets_the_images_that_the_committee_was_asked_about(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open
) -> None:
    """Bit for bit: what training gathers, crops, flips and mixes, and what labelling did."""
    asked: list[torch.Tensor] = []

    class Listening(Committee):
        def logits_for(self, images: torch.Tensor, groups: torch.Tensor | None = None) -> torch.Tensor:
            asked.append(images)
            return super().logits_for(images, groups)

    own = wise()
    listening = Listening(own.members, own.shape, own.n_classes, own.space)
    labels = per_epoch(view, rule(batch=3), listening, 1, open_run())
    source = Resident(view.gather(torch.arange(COUNT)), labels, len(CLASSES))
    recipe = Recipe(1, 3, augment={"kind": "dsa"}, mix={"kind": "mixup"}, loss=Loss("kl", 4.0))
    batches = Batches(source, recipe, lambda name, *ids: torch.Generator(), torch.device("cpu"))
    seen = [batches(0, step) for step in range(batches.steps_per_epoch)]
    assert torch.equal(torch.cat([batch.images for batch in seen]), torch.cat(asked))
    torch.testing.assert_close(seen[0].target, (labels.view(0, 0, PICK).target / 4).softmax(1))  # type: ignore[operator]


def test_groups_of_batch_statistics_are_those_of_the_student(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open
) -> None:
    """CV-DD's batch-specific soft labels: teacher and student take their statistics over the same samples."""
    asking = wise(statistics="batch")
    labels = per_epoch(view, rule(norm_group=2), asking, 1, open_run())
    for step in range(2):
        batch = labels.view(0, step, PICK)
        images = replay_mix(replay_view(view.gather(batch.indices), batch.crop, batch.flip), batch.mix)  # type: ignore[arg-type]
        for group in batch.norm_group.unique():  # type: ignore[union-attr]
            rows = batch.norm_group == group
            torch.testing.assert_close(batch.target[rows], asking.logits_for(images[rows]), rtol=2e-3, atol=2e-3)  # type: ignore[index]


def test_linear_labels_are_mixed_as_the_images_are(view: PlainView, wise: Wise, rule: Rule, open_run: Open) -> None:
    labels = per_epoch(view, rule(mix={"kind": "mixup"}), wise(), 1, open_run(), linear=True)
    batch = labels.view(0, 0, PICK)
    targets = wise().targets_for(replay_view(view.gather(batch.indices), batch.crop, batch.flip))
    torch.testing.assert_close(batch.target, mix_targets(targets, batch.mix), rtol=2e-3, atol=1e-3)  # type: ignore[arg-type]
    assert (batch.form, labels.temperature) == ("probabilities", 2.0)


def test_regions_of_one_image_mix_to_a_label_of_low_variance(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open
) -> None:
    """FerKD's SelfMix: w p(first region) + (1 - w) p(second region) of the same image."""
    fields = {"crops": 2, "same_image": True, "mix": {"kind": "mixup"}}
    labels = per_epoch(view, rule(**fields), wise(), 1, open_run(), linear=True)
    batch = labels.view(0, 0, PICK)
    assert batch.indices[0] == batch.indices[1]
    first, second = wise().targets_for(replay_view(view.gather(batch.indices), batch.crop, batch.flip))[:2]
    weight = float(batch.mix.weight)  # type: ignore[union-attr]
    torch.testing.assert_close(batch.target[0], weight * first + (1 - weight) * second, rtol=2e-3, atol=1e-3)  # type: ignore[index]


def test_a_calibration_sees_the_class_of_each_image(view: PlainView, wise: Wise, rule: Rule, open_run: Open) -> None:
    """With high = 1 no answer is kept, and with low = 0 none is dropped: every target is the softened class."""
    strict = Calibration(low=0.0, high=1.0, softening=0.1)
    labels = per_epoch(view, rule(mix=None), wise(), 1, open_run(), classes=LABELS, linear=True, calibration=strict)
    batch = labels.view(0, 1, PICK)
    expected = torch.full((5, 3), 0.05).scatter(1, LABELS[batch.indices][:, None], 0.9)
    torch.testing.assert_close(batch.target, expected, rtol=1e-3, atol=1e-4)
    assert torch.equal(labels.hard(), LABELS)


def test_certainty_does_not_fall_with_the_temperature_of_the_labels(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open
) -> None:
    """A region without a label at T = 20 is one without a label at T = 1, and the others have one."""
    asking = wise(temperature=1.0)
    sure = per_epoch(view, rule(mix=None), asking, 1, open_run("sure"), linear=True).view(0, 0, PICK).target
    certainty = sure.max(1).values  # type: ignore[union-attr]
    low = float(certainty.sort().values[1:3].mean())  # two of the regions of this step are less certain
    fields = {"classes": LABELS, "linear": True, "calibration": Calibration(low=low, high=1.0)}
    for temperature in (1.0, 20.0):
        labels = per_epoch(view, rule(mix=None), wise(temperature=temperature), 1, open_run(f"{temperature}"), **fields)
        kept = labels.view(0, 0, PICK).target.sum(1) > 0  # type: ignore[union-attr]
        assert torch.equal(kept, certainty >= low)
        assert 0 < int(kept.sum()) < len(kept)


def test_a_calibration_that_drops_nearly_everything_is_refused(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open
) -> None:
    nothing = Calibration(low=1.0, high=1.0)
    with pytest.raises(BadInput, match="leaves 9 of 9 regions without a label; lower its `low`"):
        per_epoch(view, rule(), wise(), 1, open_run(), classes=LABELS, linear=True, calibration=nothing)
    # One small epoch without a label may be chance; so many regions are none.
    long = open_run("long")
    with pytest.raises(BadInput, match=r"leaves 504 of 504 regions without a label"):
        per_epoch(view, rule(), wise(), 60, long, classes=LABELS, linear=True, calibration=nothing)
    long.close()
    # Continued after 50 of its epochs it is refused at the same one, not by those alone that were left.
    made = sorted((long.directory / "stores" / "labels").glob("*.safetensors"))
    assert len(made) == 55
    for path in made[50:]:
        path.unlink()
    with pytest.raises(BadInput, match=r"leaves 504 of 504 regions without a label"):
        per_epoch(view, rule(), wise(), 60, open_run("long"), classes=LABELS, linear=True, calibration=nothing)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_epoch_of_a_calibrated_store_is_made_again(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open, damage: str
) -> None:
    fields = {"classes": LABELS, "linear": True, "calibration": Calibration(low=0.1, high=1.0)}
    first = open_run("calibrated")
    per_epoch(view, rule(), wise(), 3, first, **fields)  # type: ignore[arg-type]
    first.close()
    path = first.directory / "stores" / "labels" / "00001.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:4] if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    per_epoch(view, rule(), wise(), 3, open_run("calibrated"), **fields)  # type: ignore[arg-type]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("codec", [Codec(), Codec("smoothed", 2)])
def test_an_interrupted_store_continues_to_the_same_bytes(
    view: PlainView,
    wise: Wise,
    rule: Rule,
    open_run: Open,
    tmp_path: Path,
    codec: Codec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unbroken = per_epoch(view, rule(), wise(), 4, open_run("unbroken"), codec=codec)

    written = 0

    def failing(path: object, tensors: object, metadata: object = None) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise OSError(28, "no space left on device")
        keep(path, tensors, metadata)  # type: ignore[arg-type]

    keep = files.write_tensors
    monkeypatch.setattr(files, "write_tensors", failing)
    broken = open_run("broken")
    with pytest.raises(OSError, match="no space left"):
        per_epoch(view, rule(), wise(), 4, broken, codec=codec)
    broken.close()
    resumed = per_epoch(view, rule(), wise(), 4, open_run("broken"), codec=codec)
    assert written == 5  # two epochs were not labelled again
    for name in (f"{index:05d}.safetensors" for index in range(4)):
        first, second = (tmp_path / run / "stores" / "labels" / name for run in ("unbroken", "broken"))
        assert first.read_bytes() == second.read_bytes()
    assert resumed.nbytes() == unbroken.nbytes()


def test_answers_are_let_go_once_they_are_written(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twelve epochs no more than two are ever held; what a process needs is measured in test_memory.py."""
    epochs: list[list[weakref.ref[torch.Tensor]]] = []
    held: list[int] = []

    def watched(path: object, tensors: Mapping[str, torch.Tensor], metadata: object = None) -> None:
        keep(path, tensors, metadata)  # type: ignore[arg-type]
        epochs.append([weakref.ref(tensor) for tensor in tensors.values()])
        held.append(sum(any(tensor() is not None for tensor in epoch) for epoch in epochs))

    keep = files.write_tensors
    monkeypatch.setattr(files, "write_tensors", watched)
    per_epoch(view, rule(), wise(), 12, open_run())
    assert len(held) == 12
    assert max(held) <= 2


def test_a_saved_set_answers_as_before(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open, train: object, space: Preprocessing, tmp_path: Path
) -> None:
    from condense import distilled

    labels = per_epoch(view, rule(norm_group=2), wise(), 2, open_run(), classes=LABELS, codec=Codec("logits", 2))
    made = DistilledSet.synthetic(view.images, labels, train, space)  # type: ignore[arg-type]
    loaded = distilled.load(distilled.save(made, tmp_path / "set")).labels
    for epoch, step in ((0, 0), (1, 1)):
        before, after = labels.view(epoch, step, PICK), loaded.view(epoch, step, PICK)
        for name in ("indices", "target", "crop", "flip", "norm_group"):
            assert torch.equal(getattr(before, name), getattr(after, name))
        assert torch.equal(before.mix.partner, after.mix.partner)  # type: ignore[union-attr]
    assert torch.equal(loaded.hard(), LABELS)
    assert loaded.nbytes() == labels.nbytes()


def test_a_saved_set_takes_no_second_place_on_the_disk(
    view: PlainView,
    wise: Wise,
    rule: Rule,
    open_run: Open,
    train: object,
    space: Preprocessing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from condense import distilled

    labels = per_epoch(view, rule(), wise(), 2, open_run("store"), classes=LABELS)
    made = DistilledSet.synthetic(view.images, labels, train, space)  # type: ignore[arg-type]
    shards = [tmp_path / "store" / "stores" / "labels" / f"{index:05d}.safetensors" for index in range(2)]
    names = [f"labels/epoch-{index:04d}.safetensors" for index in range(2)]
    linked = distilled.save(made, tmp_path / "linked")
    assert all((linked / name).samefile(shard) for name, shard in zip(names, shards, strict=True))
    again = distilled.save(distilled.load(linked), tmp_path / "again")
    assert all((again / name).samefile(shard) for name, shard in zip(names, shards, strict=True))

    def elsewhere(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "invalid cross-device link")

    monkeypatch.setattr(disk, "link", elsewhere)
    copied = distilled.save(made, tmp_path / "copied")
    assert not any((copied / name).samefile(shard) for name, shard in zip(names, shards, strict=True))
    for shard in shards:  # as the folder of a finished run
        shard.unlink()
    for folder in (linked, again, copied):
        assert distilled.verify(folder) == []


def test_large_steps_are_asked_about_in_parts(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = per_epoch(view, rule(batch=9), wise(), 1, open_run("whole")).view(0, 0, PICK).target
    sizes: list[int] = []
    answer = Committee.logits_for

    def counted(self: Committee, images: torch.Tensor, groups: torch.Tensor | None = None) -> torch.Tensor:
        sizes.append(len(images))
        return answer(self, images, groups)

    monkeypatch.setattr(Committee, "logits_for", counted)
    monkeypatch.setattr(sys.modules[per_epoch.__module__], "_ON_CPU", 4)
    parts = per_epoch(view, rule(batch=9), wise(), 1, open_run("parts")).view(0, 0, PICK).target
    assert sizes == [4, 4, 1]
    torch.testing.assert_close(parts, whole, rtol=2e-3, atol=1e-3)  # in half precision
    sizes.clear()
    per_epoch(view, rule(batch=9), wise(statistics="batch"), 1, open_run("batch"))
    assert sizes == [9]  # these share their statistics


def test_averaged_probabilities_are_kept_at_their_temperature(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open
) -> None:
    """As logits they would be softened a second time by whoever trains on them (MEAL V2)."""
    regions, committee = rule(mix=None), wise(average="probabilities")
    labels = per_epoch(view, regions, committee, 1, open_run())
    drawn = regions.epoch(0)
    batch = labels.view(0, 0, drawn["indices"][regions.rows(0)])
    assert (batch.form, labels.temperature) == ("probabilities", 2.0)
    assert batch.target is not None
    expected = committee.targets_for(step_images(view, regions, drawn, 0, torch.device("cpu")))
    torch.testing.assert_close(batch.target.double(), expected.double(), rtol=1e-3, atol=1e-3)


def test_what_does_not_fit_is_refused(view: PlainView, wise: Wise, rule: Rule, open_run: Open) -> None:
    run = open_run()
    with pytest.raises(BadInput, match="drawn for 8 images"):
        per_epoch(view, rule(count=8), wise(), 1, run)
    with pytest.raises(BadInput, match="give the classes"):
        per_epoch(view, rule(), wise(), 1, run, linear=True, calibration=Calibration())
    with pytest.raises(BadInput, match="use linear=true"):
        per_epoch(view, rule(), wise(), 1, run, classes=LABELS, calibration=Calibration())
    calibrated = {"classes": LABELS, "linear": True, "calibration": Calibration(low=0.0)}
    with pytest.raises(BadInput, match="which codec=smoothed cannot keep"):
        per_epoch(view, rule(), wise(), 1, run, codec=Codec("smoothed", 2), **calibrated)
    with pytest.raises(BadInput, match="average logits, or use temperature=1 instead of 2"):
        per_epoch(view, rule(), wise(average="probabilities"), 1, run, **calibrated)


def test_training_takes_its_steps_from_the_labels_and_refuses_another_batch(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open
) -> None:
    labels = per_epoch(view, rule(), wise(), 1, open_run())  # nine images in steps of four and five
    source = Resident(view.gather(torch.arange(COUNT)), labels, len(CLASSES))
    recipe = Recipe(1, 4, loss=Loss("kl"))
    batches = Batches(source, recipe, lambda name, *ids: torch.Generator(), torch.device("cpu"))
    assert (batches.steps_per_epoch, recipe.steps_per_epoch(COUNT)) == (2, 3)
    with pytest.raises(BadInput, match="made for steps of 4 samples, the recipe has 8"):
        Batches(source, dataclasses.replace(recipe, batch=8), batches._rng, torch.device("cpu"))


def test_mixing_up_is_part_of_the_labels_and_not_done_twice(
    view: PlainView, wise: Wise, rule: Rule, open_run: Open
) -> None:
    labels = per_epoch(view, rule(mix={"kind": "mixup"}), wise(), 1, open_run())
    batch = labels.view(0, 0, PICK)
    images = replay_view(view.gather(batch.indices), batch.crop, batch.flip)
    mixed = MixUp().apply(images, batch.mix)  # type: ignore[arg-type]
    source = Resident(view.gather(torch.arange(COUNT)), labels, len(CLASSES))
    found = Batches(source, Recipe(1, 4, mix={"kind": "mixup"}), lambda *_: torch.Generator(), torch.device("cpu"))(
        0, 0
    )
    torch.testing.assert_close(found.images, mixed)
