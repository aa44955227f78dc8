"""The transfer judge: blind to the method, paired, resumable, and told when something cannot be done."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from condense import distilled, machine, networks, training
from condense.data import Dataset
from condense.distilled import DistilledSet, HardLabels, SoftLabels
from condense.errors import BadInput, Diverged
from condense.evaluate.parts import Cell
from condense.evaluate.transfer import protocol as protocols
from condense.evaluate.transfer import starts, uses
from condense.evaluate.transfer.judge import transfer
from condense.evaluate.transfer.protocol import Setting, TransferProtocol
from condense.evaluate.transfer.records import Place
from condense.evaluate.transfer.starts import FromSet, Scratch, SelfSupervised, fresh
from condense.evaluate.transfer.uses import Use
from condense.preprocessing import normalise
from condense.probing import ridge_probe
from condense.progress import NoProgress
from condense.run import Run, cache
from condense.training import engines

NETWORK = "convnet-d1:norm=batch,width=4"


def measured(start: Any, source: Dataset, targets: list[Dataset], protocol: TransferProtocol, run: Run, **more: Any):
    """{(place, seed): cell}"""
    cells = transfer(start, source.shape, targets, protocol, run, **more)
    return {(place, seed): cell for place, cell in cells for seed in (cell.seeds or (None,))}


def accuracies(*arguments: Any, **more: Any) -> dict[tuple[Place, int], float]:
    return {key: cell.accuracy[0] for key, cell in measured(*arguments, **more).items()}


def test_every_target_network_setting_and_seed_is_measured_once(
    represented, source, targets, make_protocol, run
) -> None:
    start = FromSet(represented.training_view(), make_protocol(), False)
    found = measured(start, source, targets, make_protocol(), run)
    settings = ["fine-tune@0.25", "fine-tune@1", "probe@0.25", "probe@1"]
    assert set(found) == {
        (Place(target, NETWORK, setting), seed) for target in ("near", "far") for setting in settings for seed in (0, 1)
    }
    assert all(cell.status == "ok" and len(cell.seconds) == 1 and cell.engine for cell in found.values())
    assert found[Place("near", NETWORK, "probe@1"), 0].engine.startswith("closed form")


def test_the_accuracy_does_not_depend_on_what_made_the_set(
    represented: DistilledSet, source, targets, make_protocol, tmp_path: Path
) -> None:
    made_by = {"method": "krr_st", "title": "KRR-ST", "config": {"steps": 7}, "seed": 0}
    scrambled = {"method": "zz", "title": "?", "preset": None, "config": {"steps": -1}, "seed": 77}
    found = []
    for index, provenance in enumerate((made_by, scrambled)):
        folder = tmp_path / f"set-{index}"
        distilled.save(dataclasses.replace(represented, provenance=provenance), folder)
        start = FromSet(distilled.load(folder).training_view(), make_protocol(), False)
        # Caches of their own, so that the second does not find what the first computed.
        with Run(tmp_path / f"run-{index}", seed=index, cache_dir=tmp_path / f"cache-{index}") as own:
            found.append(accuracies(start, source, targets, make_protocol(), own))
    assert found[0] == found[1]


def test_repeating_gives_the_same_bits_and_another_target_trains_nothing_again(
    represented, source, targets, make_protocol, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = FromSet(represented.training_view(), make_protocol(), False)
    both = accuracies(start, source, targets, make_protocol(), run)
    monkeypatch.setattr(starts, "train", lambda *_, **__: pytest.fail("pre-trained a second time"))
    again = accuracies(start, source, targets[1:], make_protocol(), run)
    assert again == {key: value for key, value in both.items() if key[0].target == "far"}


@pytest.mark.parametrize("kind", ["from a set", "self-supervised"])
def test_a_start_is_trained_by_the_engine_that_its_cells_name(
    kind, represented, source, make_protocol, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = make_protocol(seeds=1)
    start = SelfSupervised(source.train, protocol)
    if kind == "from a set":
        start = FromSet(represented.training_view(), protocol, False)  # type: ignore[assignment]

    def weights() -> torch.Tensor:
        return start.body(NETWORK, source.shape, 0, run).blocks[0].conv.weight

    def entries() -> list[Any]:
        return [entry.key["engine"] for entry in cache.entries(run.cache_dir)]

    first = weights()
    assert entries() == [f"sequential eager float32; {machine.engine_words()}"]
    with monkeypatch.context() as patch:
        patch.setattr(machine, "engine_words", lambda device="cpu": "a machine of another kind")
        assert torch.equal(weights(), first)  # the same draws, and here the same arithmetic
    assert len(set(entries())) == 2
    weights()
    assert len(entries()) == 2


def test_what_is_done_is_left_out(represented, source, targets, make_protocol, run) -> None:
    start = FromSet(represented.training_view(), make_protocol(), False)
    everything = measured(start, source, targets, make_protocol(), run)
    missing = (Place("far", NETWORK, "probe@1"), 1)
    left = measured(start, source, targets, make_protocol(), run, done=set(everything) - {missing})
    assert set(left) == {missing}
    assert left[missing].accuracy == everything[missing].accuracy


def test_how_far_it_is_is_shown_in_cells(source, targets, make_protocol, tmp_path) -> None:
    class Counted(NoProgress):
        def __init__(self) -> None:
            self.told: list[tuple[str, int]] = []

        def begin(self, name: str, total: int, done: int = 0) -> None:
            self.told.append((f"begin {name}", total))

        def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
            self.told.append(("done", done))

    progress, protocol = Counted(), make_protocol()
    with Run(tmp_path / "shown", seed=0, cache_dir=tmp_path / "cache", progress=progress) as shown:
        found = measured(Scratch(), source, targets, protocol, shown)
    assert progress.told == [(f"begin {protocol.name}", len(found)), *(("done", n + 1) for n in range(len(found)))]


@pytest.mark.parametrize("module", [starts, uses], ids=["pre-training", "fine-tuning"])
def test_an_interrupted_training_goes_on_where_it_stood_to_the_same_bits(
    module, represented, source, targets, make_protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = make_protocol(seeds=1)
    start = FromSet(represented.training_view(), protocol, False)
    plain = module.train

    def judged(folder: str, breaks_in: int | None = None) -> tuple[dict[tuple[Place, int], float], list[Any]]:
        """What was measured, and the losses of every step of the trainings in question."""
        steps: list[Any] = []

        def note(epoch: int, step: int, loss: torch.Tensor) -> None:
            if epoch == breaks_in:
                raise KeyboardInterrupt
            steps.append((epoch, step, loss.item()))

        monkeypatch.setattr(module, "train", lambda *given, **more: plain(*given, **more, on_step=note))
        with Run(tmp_path / folder, seed=0, cache_dir=tmp_path / f"{folder}-cache", checkpoint_seconds=0.0) as own:
            try:
                return accuracies(start, source, targets, protocol, own), steps
            except KeyboardInterrupt:
                return {}, steps

    whole, steps = judged("unbroken")
    nothing, before = judged("broken", breaks_in=2)
    assert nothing == {}
    found, after = judged("broken")
    assert found == whole
    assert before + after == steps
    assert before
    assert not (tmp_path / "broken" / "fine-tunings").exists()  # the caller has all that was begun


def test_what_another_start_or_engine_began_is_not_continued(
    targets, make_protocol, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folders(network: networks.Network, words: str) -> set[Path]:
        monkeypatch.setattr(machine, "engine_words", lambda device="cpu": words)
        Use(network, NETWORK, 0, targets[0], normalise((0.4,), (0.2,)), make_protocol(), run).outcome(
            Setting("fine-tune", 1.0)
        )
        return set((run.directory / "fine-tunings").iterdir())

    first, other = fresh(NETWORK, (1, 8, 8), 0), fresh(NETWORK, (1, 8, 8), 1)
    counts = [len(folders(*pair)) for pair in ((first, "cpu"), (first, "cpu"), (other, "cpu"), (other, "cuda"))]
    assert counts == [1, 1, 2, 3]


def test_starts_of_a_seed_share_their_first_weights_and_the_new_classifier(
    represented, source, targets, make_protocol, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = make_protocol(seeds=1, probe=False, shares=[1.0])
    heads, bodies = [], []
    untrained = lambda network, *_, **__: heads.append(network.classifier.weight.clone())  # noqa: E731
    monkeypatch.setattr(uses, "train", untrained)
    monkeypatch.setattr(starts, "train", lambda network, *_, **__: bodies.append(network.blocks[0].conv.weight.clone()))
    for start in (Scratch(), FromSet(represented.training_view(), protocol, False)):
        measured(start, source, targets[:1], protocol, run)
    assert torch.equal(heads[0], heads[1])
    assert heads[0].shape[0] == 4
    assert torch.equal(bodies[0], fresh(NETWORK, source.shape, 0).blocks[0].conv.weight)


def test_using_a_start_leaves_it_as_it_was(targets, make_protocol, run) -> None:
    network = fresh(NETWORK, (1, 8, 8), 0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    use = Use(network, NETWORK, 0, targets[0], normalise((0.4,), (0.2,)), make_protocol(), run)
    use.outcome(Setting("fine-tune", 1.0))
    use.outcome(Setting("probe", 1.0))
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


def test_the_probe_is_the_ridge_of_the_features_of_the_labelled_rows(targets, make_protocol, run) -> None:
    space, target = normalise((0.4,), (0.2,)), targets[0]
    network = fresh(NETWORK, (1, 8, 8), 0)
    outcome = Use(network, NETWORK, 0, target, space, make_protocol(), run).outcome(Setting("probe", 1.0))
    assert outcome.accuracy == probed_with_statistics(network, target, space)


@pytest.mark.parametrize("start", ["fresh", "trained on a set"])
def test_every_start_is_probed_with_statistics_of_the_target(
    start, represented, source, targets, make_protocol, run
) -> None:
    protocol, target = make_protocol(seeds=1, shares=[1.0]), targets[0]
    begun = Scratch() if start == "fresh" else FromSet(represented.training_view(), protocol, False)
    found = accuracies(begun, source, targets[:1], protocol, run)[Place("near", NETWORK, "probe@1"), 0]
    network, space = begun.body(NETWORK, source.shape, 0, run), normalise(target.mean, target.std)
    assert found == probed_with_statistics(network, target, space)
    assert found != probed_with_statistics(network, target, space, taken=False)


def probed_with_statistics(network, target, space, *, taken: bool = True) -> float:
    """The probe on all labels, after all training images passed in one batch whose statistics were taken, or not."""
    network = copy.deepcopy(network)
    images = [space.forward(split.take(range(len(split)))) for split in (target.train, target.test)]
    with torch.no_grad():
        if taken:
            network.blocks[0].norm.momentum = 1.0
            network.train().embed(images[0])
        features = [network.eval().embed(each) for each in images]
    return ridge_probe(features[0], target.train.labels, 4).accuracy(features[1], target.test.labels)


def test_each_kind_of_label_has_its_own_pre_training(represented, source, targets, make_protocol, run) -> None:
    hard = HardLabels(torch.arange(6) % 3, 3)
    soft = SoftLabels(torch.full((6, 3), 0.2).scatter(1, hard.values[:, None], 0.6))
    asked = []
    for labels, expected in ((represented.labels, "representation"), (soft, "soft"), (hard, "hard")):
        view = dataclasses.replace(represented, labels=labels).training_view()
        start = FromSet(view, make_protocol(), False)
        assert start._kind == expected
        asked.append(accuracies(start, source, targets, make_protocol(seeds=1), run))
    assert asked[0] != asked[1]


def test_self_supervision_trains_the_judged_network_on_all_images_without_labels(
    source, targets, make_protocol, run
) -> None:
    protocol = make_protocol(seeds=1)
    body = SelfSupervised(source.train.unlabelled(), protocol).body(NETWORK, source.shape, 0, run)
    assert not torch.equal(body.blocks[0].conv.weight, fresh(NETWORK, source.shape, 0).blocks[0].conv.weight)
    again = SelfSupervised(source.train, protocol).body(NETWORK, source.shape, 0, run)
    assert torch.equal(body.blocks[0].conv.weight, again.blocks[0].conv.weight)
    assert len(accuracies(SelfSupervised(source.train, protocol), source, targets, protocol, run)) == 8


def statuses(cells: dict[Any, Cell]) -> set[str]:
    return {cell.status for cell in cells.values()}


def test_a_diverging_start_fails_its_seed_and_says_when(
    represented, source, targets, make_protocol, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(*_: Any, **__: Any) -> None:
        raise Diverged("the loss is nan")

    start = FromSet(represented.training_view(), make_protocol(), False)
    monkeypatch.setattr(starts, "train", diverges)
    cells = [cell for _, cell in transfer(start, source.shape, targets, make_protocol(), run)]
    assert {cell.status for cell in cells} == {"failed"}
    assert cells[0].failures == {"0": "before the target, the loss is nan"}
    monkeypatch.setattr(uses, "train", diverges)
    found = list(transfer(Scratch(), source.shape, targets, make_protocol(), run))
    assert {cell.status for place, cell in found if place.setting.startswith("fine-tune")} == {"failed"}
    assert {cell.status for place, cell in found if place.setting.startswith("probe")} == {"ok"}


def test_trainings_of_a_table_that_share_a_graph_repay_compiling_it(
    represented, source, targets, make_protocol, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def watched(*arguments: Any, seeds: int = 1, **more: Any) -> training.Engine:
        asked.append(seeds)
        return training.choose(*arguments, seeds=seeds, **more)

    for module in (starts, uses):
        monkeypatch.setattr(module, "choose", watched)
    protocol = make_protocol(seeds=3, shares=[1.0], probe=False)
    measured(FromSet(represented.training_view(), protocol, False), source, targets[:1], protocol, run, seeds=[2])
    assert asked == [15, 15]  # a set and its use, whatever part of the table this process makes
    narrow = protocols.load("transfer-narrow")
    (name,) = narrow.networks((3, 32, 32))
    recipe = narrow.fine_tune.recipe_for(25_000, flips=True)  # type: ignore[union-attr]
    network = networks.build(name, (3, 32, 32), 5)
    monkeypatch.setattr(engines, "_compiler", lambda: True)
    many, one = (training.choose(recipe, network, 25_000, "cpu", shape=(3, 32, 32), seeds=n) for n in (15, 1))
    assert many.compile
    assert not one.compile


def test_labels_that_cannot_be_trained_on_give_a_reason(represented, source, targets, make_protocol, run) -> None:
    view = represented.training_view()
    view = dataclasses.replace(view, offers=dataclasses.replace(view.offers, labels=frozenset({"replay"})))
    found = list(transfer(FromSet(view, make_protocol(), False), source.shape, targets, make_protocol(), run))
    assert {cell.status for _, cell in found} == {"n/a"}
    assert found[0][1].reason == "the protocol trains on representations, soft or hard labels; the set has replay"


def test_a_network_that_cannot_take_the_images_is_not_applicable(source, targets, make_protocol, run) -> None:
    found = list(transfer(Scratch(), source.shape, targets, make_protocol(), run, networks=["convnet-d6", NETWORK]))
    assert {(place.network, cell.status) for place, cell in found} == {("convnet-d6", "n/a"), (NETWORK, "ok")}


def test_impossible_requests_are_refused_before_anything_is_trained(source, targets, make_protocol, run) -> None:
    other = dataclasses.replace(targets[0], shape=(3, 8, 8))
    with pytest.raises(BadInput, match=r"near has images of \(3, 8, 8\)"):
        transfer(Scratch(), source.shape, [other], make_protocol(), run)
    with pytest.raises(BadInput, match="at least one target"):
        transfer(Scratch(), source.shape, [], make_protocol(), run)
    with pytest.raises(BadInput, match="convnet"):
        transfer(Scratch(), source.shape, targets, make_protocol(), run, networks=["convnt"])
