"""The judge: fixed, blind to the method, resumable, and honest about what failed."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re

import pytest
import torch

from condense import distilled, training
from condense.budget import Budget
from condense.distilled import DistilledSet, HardLabels, Representations
from condense.distilled.labels import RegionLabels, Regions
from condense.errors import BadInput, Diverged, UnknownName
from condense.evaluate import records, trials
from condense.evaluate.judge import judge
from condense.evaluate.parts import BytesRef, DatasetRef, SetRef
from condense.evaluate.trials import stream
from condense.preprocessing import fit, normalise
from condense.training import Engine, SplitSource


def accuracies(judged, dataset, protocol, **options):
    """{(network, seed): accuracy}, every cell being ok."""
    found = {}
    for network, cell in judge(judged.training_view(), dataset, protocol, **options):
        assert cell.status == "ok", cell.reason
        found |= {(network, seed): value for seed, value in zip(cell.seeds, cell.accuracy, strict=True)}
    return found


def test_every_network_and_seed_is_scored_and_kept(synthetic, dataset, make_protocol):
    found = accuracies(synthetic, dataset, make_protocol())
    assert list(found) == [(name, seed) for name in ("mlp:width=8", "convnet-d1:width=4") for seed in (0, 1)]
    assert min(found.values()) > 0.4  # three classes: above chance, so the set was trained on
    assert len(set(found.values())) > 1


def test_accuracy_is_that_of_the_last_epoch_measured_once(synthetic, dataset, make_protocol, monkeypatch):
    measured = []

    def remember(*args, **more):
        measured.append(training.accuracy(*args, **more))
        return measured[-1]

    monkeypatch.setattr(trials, "accuracy", remember)
    found = accuracies(synthetic, dataset, make_protocol())
    assert list(found.values()) == measured


def test_method_config_and_id_change_no_bit(synthetic, dataset, make_protocol, tmp_path):
    made_by = {"method": "dm", "title": "DM", "preset": "cpu", "config": {"steps": 5}, "seed": 0}
    scrambled = {"method": "zz", "title": "?", "preset": None, "config": {"lr": 1e9, "steps": -1}, "seed": 77}
    sets = []
    for index, provenance in enumerate((made_by, scrambled)):
        folder = tmp_path / f"set-{index}"
        distilled.save(dataclasses.replace(synthetic, provenance=provenance), folder)
        sets.append(distilled.load(folder))
    assert sets[0].id != sets[1].id
    first, second = (accuracies(each, dataset, make_protocol()) for each in sets)
    assert first == second


def test_the_view_that_is_judged_names_no_method(synthetic):
    view = dataclasses.replace(synthetic, provenance={"method": "dm"}).training_view()
    assert {field.name for field in dataclasses.fields(view)} == {
        "view", "labels", "preprocessing", "step_size", "classes", "offers",
    }  # fmt: skip
    assert "dm" not in repr(view)


def test_hard_protocols_harden_soft_labels_and_ignore_a_learned_rate(synthetic, softened, dataset, make_protocol):
    hard = accuracies(synthetic, dataset, make_protocol())
    assert accuracies(dataclasses.replace(softened, step_size=9.0), dataset, make_protocol()) == hard
    soft = make_protocol(track="own", needs={"labels": "soft"})
    assert accuracies(softened, dataset, soft) != hard


def test_a_set_without_what_is_needed_gets_a_reason(synthetic, softened, dataset, make_protocol):
    targets = dataclasses.replace(synthetic, labels=Representations(torch.ones(12, 5)))
    for judged, needs, reason in (
        (
            targets,
            {"labels": "hard"},
            "a class per image, the set has representation targets; use `condense transfer SET --targets",
        ),
        (synthetic, {"labels": "soft"}, "soft labels, the set has a class per image"),
        (synthetic, {"labels": "replay"}, "stored labels for every epoch"),
        (softened, {"labels": "soft", "views": "set"}, "crops, flips and mixes"),
    ):
        cells = dict(judge(judged.training_view(), dataset, make_protocol(track="own", needs=needs)))
        assert [cell.status for cell in cells.values()] == ["n/a", "n/a"]
        for cell in cells.values():
            assert cell.seeds == ()
            assert re.search(reason, cell.reason)


def test_one_network_that_diverges_does_not_stop_the_others(synthetic, dataset, make_protocol):
    panel = [{"network": "mlp:width=8", "recipe": {"lr": 1e30}}, {"network": "convnet-d1:width=4"}]
    cells = list(judge(synthetic.training_view(), dataset, make_protocol(panel=panel)))
    assert [name for name, _ in cells] == ["mlp:width=8"] * 2 + ["convnet-d1:width=4"] * 2
    assert [cell.status for _, cell in cells] == ["failed", "failed", "ok", "ok"]
    assert [list(cell.failures) for _, cell in cells[:2]] == [["0"], ["1"]]
    assert "diverged" in cells[0][1].reason


def test_a_network_too_deep_for_the_image_is_no_failure_of_the_set(synthetic, dataset, make_protocol):
    ((name, cell),) = judge(synthetic.training_view(), dataset, make_protocol(), networks=["convnet-d6"], seeds=[0])
    assert (name, cell.status) == ("convnet-d6", "n/a")
    assert "4x4" in cell.reason


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (MemoryError("big"), {}),
        (torch.OutOfMemoryError("big"), {}),
        (RuntimeError("a device gave up\ntrace"), {}),
        (Diverged("odd"), {"0": "odd"}),
    ],
)
def test_only_failures_that_would_repeat_are_recorded_as_such(
    synthetic, dataset, make_protocol, monkeypatch, error, recorded
):
    def fail(*args, **more):
        raise error

    monkeypatch.setattr(trials, "train_seeds", fail)
    cells = [cell for _, cell in judge(synthetic.training_view(), dataset, make_protocol(), seeds=[0])]
    assert [cell.status for cell in cells] == ["failed", "failed"]
    assert cells[0].failures == recorded


def test_pairs_that_are_done_are_not_trained_again(synthetic, dataset, make_protocol):
    done = {("mlp:width=8", 0), ("mlp:width=8", 1), ("convnet-d1:width=4", 1)}
    whole = accuracies(synthetic, dataset, make_protocol())
    rest = accuracies(synthetic, dataset, make_protocol(), done=done)
    assert rest == {pair: value for pair, value in whole.items() if pair not in done}
    assert accuracies(synthetic, dataset, make_protocol(), done=set(whole)) == {}


def test_an_interrupted_judging_goes_on_to_the_same_record(synthetic, dataset, make_protocol, tmp_path):
    protocol = make_protocol()

    def merge_into(folder, known, limit):
        cells = judge(synthetic.training_view(), dataset, protocol, done=records.done(known))
        for network, cell in itertools.islice(cells, limit):
            path, known = records.merge(folder, a_record(protocol, {network: cell}))
        return path.read_bytes(), known

    whole, finished = merge_into(tmp_path / "unbroken", None, None)
    _, known = merge_into(tmp_path / "broken", None, 3)
    resumed, _ = merge_into(tmp_path / "broken", known, None)
    assert without_times(resumed) == without_times(whole)
    assert list(judge(synthetic.training_view(), dataset, protocol, done=records.done(finished))) == []


def without_times(text):
    return {key: value for key, value in json.loads(text).items() if key != "volatile"}


def a_record(protocol, cells):
    return records.compose(
        protocol=protocol.reference(),
        dataset=DatasetRef(name="halves", fingerprint="f" * 64),
        budget=Budget(total=12),
        judged=SetRef(
            id="ab" * 32,
            method="dm",
            title="DM",
            kind="synthetic",
            preset=None,
            config={},
            seed=0,
            trained_on="train",
            preprocessing="normalise",
            labels="hard",
            count=12,
            bytes=BytesRef(images=1, labels=1, extras=0, preprocessing=0),
        ),
        cells=cells,
        command="condense evaluate x",
    )


def test_a_seed_is_the_same_alone_among_others_and_under_another_spelling(synthetic, dataset, make_protocol):
    whole = accuracies(synthetic, dataset, make_protocol())
    alone = accuracies(synthetic, dataset, make_protocol(), networks=["convnet-d1:norm=instance,width=4"], seeds=[1])
    assert alone == {("convnet-d1:width=4", 1): whole["convnet-d1:width=4", 1]}


def test_initial_weights_depend_on_network_and_seed_and_nothing_else():
    draw = {
        (network, seed): torch.rand(3, generator=stream(network, seed)("init")).tolist()
        for network in ("mlp", "vit")
        for seed in (0, 1)
    }
    assert len({tuple(values) for values in draw.values()}) == 4
    assert draw["mlp", 1] == torch.rand(3, generator=stream("mlp", 1)("init")).tolist()


def test_no_global_random_state_is_read_or_moved(synthetic, dataset, make_protocol):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = accuracies(synthetic, dataset, make_protocol())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert accuracies(synthetic, dataset, make_protocol()) == first


def test_a_hard_protocol_does_not_look_at_the_training_split(synthetic, dataset, make_protocol):
    blind = dataclasses.replace(dataset, train=None)
    assert accuracies(synthetic, blind, make_protocol()) == accuracies(synthetic, dataset, make_protocol())


def test_test_labels_change_scores_and_no_weight(synthetic, dataset, make_protocol, monkeypatch):
    trained = []

    def remember(*args, **more):
        trained.append(training.train_seeds(*args, **more))
        return trained[-1]

    monkeypatch.setattr(trials, "train_seeds", remember)
    moved = dataclasses.replace(dataset.test, hidden_labels=(dataset.test.labels + 1) % 3)
    true = accuracies(synthetic, dataset, make_protocol(), seeds=[0], networks=["mlp:width=8"])
    false = accuracies(
        synthetic, dataclasses.replace(dataset, test=moved), make_protocol(), seeds=[0], networks=["mlp:width=8"]
    )
    assert false["mlp:width=8", 0] < true["mlp:width=8", 0]
    (first,), (second,) = trained
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_test_images_go_through_the_preprocessing_of_the_set(dataset, make_protocol):
    space = fit("zca", dataset.train)
    rows = torch.arange(0, 36, 3)
    whitened = DistilledSet.selection(rows, dataset.train, space)
    (_, cell), *_ = judge(whitened.training_view(), dataset, make_protocol(), seeds=[0])
    network = training.train_seeds(
        lambda generator: trials.networks.build("mlp:width=8", dataset.shape, 3, generator),
        SplitSource(dataset.train.subset(rows), space),
        make_protocol().recipe_for("mlp:width=8", len(rows), flips=False),
        [stream("mlp:width=8", 0)],
    )[0]
    assert cell.accuracy == (training.accuracy(network, SplitSource(dataset.test, space)),)
    assert cell.accuracy != (training.accuracy(network, SplitSource(dataset.test, normalise((0.5,), (0.3,)))),)


def test_seeds_trained_together_come_as_one_cell(synthetic, dataset, make_protocol, monkeypatch):
    monkeypatch.setattr(trials, "choose", lambda recipe, *rest, **more: Engine("batched", precision=recipe.precision))
    cells = [cell for _, cell in judge(synthetic.training_view(), dataset, make_protocol())]
    assert [cell.seeds for cell in cells] == [(0, 1), (0, 1)]
    assert cells[0].engine.startswith("batched")
    panel = [{"network": "mlp:width=8", "recipe": {"lr": 1e30}}]
    failed = [cell for _, cell in judge(synthetic.training_view(), dataset, make_protocol(panel=panel))]
    assert [list(cell.failures) for cell in failed] == [["0"], ["1"]]


def test_a_cell_says_how_it_was_computed(synthetic, dataset, make_protocol):
    (_, cell), *_ = judge(synthetic.training_view(), dataset, make_protocol(), seeds=[0])
    assert f"cpu, {torch.get_num_threads()} threads; torch {torch.__version__.split('+')[0]}" in cell.engine
    assert cell.engine.startswith("sequential")
    assert len(cell.seconds) == 1


def test_bad_requests_are_refused_before_anything_is_trained(synthetic, dataset, make_protocol):
    view = synthetic.training_view()
    with pytest.raises(UnknownName, match=r"did you mean .*lenet"):
        judge(view, dataset, make_protocol(), networks=["mlp", "lennet"])
    with pytest.raises(BadInput, match="no network to judge with"):
        judge(view, dataset, make_protocol(), networks=[])
    with pytest.raises(BadInput, match="seeds are one or more whole numbers"):
        judge(view, dataset, make_protocol(), seeds=[])
    with pytest.raises(BadInput, match="knows the classes 3: left, right, top, halves has 2: a, b"):
        judge(view, dataclasses.replace(dataset, classes=("a", "b")), make_protocol())
    with pytest.raises(BadInput, match=r"images are \(1, 4, 4\), those of halves \(3, 4, 4\)"):
        judge(view, dataclasses.replace(dataset, shape=(3, 4, 4)), make_protocol())
    own_teacher = make_protocol(
        track="common-soft",
        needs={"labels": "none"},
        teacher={"network": "mlp:width=8", "recipe": {"epochs": 3}, "temperature": 2.0},
    )
    with pytest.raises(BadInput, match="trains a teacher: give judge a run"):
        judge(view, dataset, own_teacher)


def test_labels_may_leave_a_class_out(synthetic, dataset, make_protocol):
    rows = torch.arange(8)  # none of the last class
    fewer = dataclasses.replace(
        synthetic, images=synthetic.images[rows], labels=HardLabels(synthetic.labels.hard()[rows], 3)
    )
    found = accuracies(fewer, dataset, make_protocol(), seeds=[0])
    assert all(value < 0.8 for value in found.values())


def test_labels_for_every_epoch_are_judged_in_their_own_steps_only(dataset, synthetic, make_protocol):
    """A protocol with another batch cannot take them: n/a, in words that say what to do."""
    draws = torch.Generator().manual_seed(0)
    regions = Regions(count=12, shape=(1, 4, 4), batch=4, seed=1)
    answers = [{"target": torch.randn(12, 3, generator=draws).half()} for _ in range(2)]
    labelled = dataclasses.replace(synthetic, labels=RegionLabels(regions, answers, 3))
    recipe = {"epochs": 3, "batch": 4, "lr": 0.05, "loss": {"kind": "kl", "temperature": 2.0}}
    needs = {"labels": "replay", "views": "set"}
    fitting = make_protocol(track="own", needs=needs, recipe=recipe)
    assert {cell.status for _, cell in judge(labelled.training_view(), dataset, fitting, seeds=[0])} == {"ok"}
    other = make_protocol(track="own", needs=needs, recipe={**recipe, "batch": 5})
    cells = dict(judge(labelled.training_view(), dataset, other, seeds=[0]))
    assert {cell.status for cell in cells.values()} == {"n/a"}
    assert "made for steps of 4 samples, the recipe has 5" in cells["mlp:width=8"].reason
