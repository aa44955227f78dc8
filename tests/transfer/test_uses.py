"""What is done with a start on a target, against the same written out plainly, and what it must not look at."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transfer_cases
from torch import Tensor, nn

from condense import training
from condense.data import Dataset, Split
from condense.evaluate.transfer import uses
from condense.evaluate.transfer.protocol import Setting
from condense.evaluate.transfer.starts import fresh, replace_classifier, stream
from condense.evaluate.transfer.targets import labelled_rows
from condense.evaluate.transfer.uses import Use
from condense.networks import Network
from condense.preprocessing import normalise
from condense.probing import Probe, ridge_probe
from condense.run.randomness import generator

NETWORK, SPACE, SHARE = transfer_cases.NETWORK, normalise((0.4,), (0.2,)), 0.25
# Of fine-tuning on 12 images: a full batch and a smaller one; decay enough to be seen in so few steps.
EPOCHS, BATCH, UPDATES, LR, DECAY = 6, 8, 12, 0.05, 0.01
TUNE, PROBE = Setting("fine-tune", SHARE), Setting("probe", SHARE)


@dataclasses.dataclass
class Seen:
    """What a use was caught with."""

    logits: Tensor | None = None  # of the test images
    weights: dict[str, Tensor] = dataclasses.field(default_factory=dict)  # of the fine-tuned network
    labels: Tensor | None = None  # that were learned from
    images: Tensor | None = None  # the same, or their features
    features: Tensor | None = None  # of all training images, before a probe
    probe: Probe | None = None


@pytest.fixture
def use_of(make_protocol, run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
    """use_of(target, setting) -> what a fresh network of seed 0 was given and became; no image is shifted."""

    def call(target: Dataset, setting: Setting) -> Seen:
        seen = Seen()
        plain = {"recipe": transfer_cases.recipe(weight_decay=DECAY), "updates": UPDATES}
        use = Use(fresh(NETWORK, (1, 8, 8), 0), NETWORK, 0, target, SPACE, make_protocol(fine_tune=plain), run)

        def train(network: nn.Module, source: training.Source, *given: Any, **more: Any) -> None:
            seen.labels = source.labels.hard()
            seen.images = source.gather(torch.arange(len(source)), torch.device("cpu"))
            training.train(network, source, *given, **more)

        def accuracy(network: nn.Module, test: training.Source, **more: Any) -> float:
            seen.weights = {name: value.clone() for name, value in network.state_dict().items()}
            seen.logits = training.predict(network, test, **more)
            return training.accuracy(network, test, **more)

        def probe(features: Tensor, labels: Tensor, n_classes: int) -> Probe:
            seen.labels, seen.images = labels, features
            seen.probe = ridge_probe(features, labels, n_classes)
            return seen.probe

        monkeypatch.setattr(uses, "train", train)
        monkeypatch.setattr(uses, "accuracy", accuracy)
        monkeypatch.setattr(uses, "ridge_probe", probe)
        use.outcome(setting)
        use.forget()
        seen.features = use._features[0] if setting.kind == "probe" else None
        return seen

    return call


def pixels(split: Split) -> Tensor:
    return SPACE.forward(split.take(torch.arange(len(split))))


def tuned(target: Dataset, **otherwise: Any) -> Tensor:
    """Logits of the test images after SGD with momentum, decay and a cosine to zero, in float64.

    otherwise: one ingredient that is left out or done in another way.
    """
    network = fresh(NETWORK, (1, 8, 8), 0)
    replace_classifier(network, 4, stream("head", NETWORK, 0)("weights"))
    network.double().train(otherwise.get("training", True))
    rows = otherwise.get("rows", labelled_rows(target.train, SHARE, 0))
    images, labels = pixels(target.train)[rows].double(), target.train.labels[rows]
    body = [] if "frozen" in otherwise else [p for n, p in network.named_parameters() if "classifier" not in n]
    optimiser = torch.optim.SGD(
        [*body, *network.classifier.parameters()],
        lr=LR,
        momentum=otherwise.get("momentum", 0.9),
        weight_decay=otherwise.get("decay", DECAY),
    )
    step = 0
    for epoch in range(EPOCHS):
        order = generator("transfer", "fine-tune", NETWORK, 0, f"near {SHARE:g}", "order", epoch)
        for batch in torch.randperm(len(rows), generator=order).split(BATCH):
            for group in optimiser.param_groups:
                group["lr"] = (
                    otherwise.get("rate", lambda part: (1 + math.cos(math.pi * part)) / 2)(step / UPDATES) * LR
                )
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimiser.step()
            step += 1
    with torch.no_grad():
        return network.eval()(pixels(target.test).double()).float()


def test_fine_tuning_is_the_loop_written_out(use_of, targets: list[Dataset]) -> None:
    logits = use_of(targets[0], TUNE).logits
    torch.testing.assert_close(logits, tuned(targets[0]), rtol=0, atol=1e-4)  # twelve steps in float32


@pytest.mark.parametrize(
    "otherwise",
    [
        {"rate": lambda part: 1.0},
        {"rate": lambda part: 1.0 - part},
        {"rate": lambda part: (1 + math.cos(math.pi * math.floor(part * EPOCHS) / EPOCHS)) / 2},
        {"frozen": True},
        {"training": False},
        {"momentum": 0.0},
        {"decay": 0.0},
        {"rows": torch.arange(12)},
    ],
    ids=["constant", "linear", "by-epoch", "frozen-body", "kept-statistics", "no-momentum", "no-decay", "other-rows"],
)
def test_fine_tuning_that_does_something_else_is_told_apart(otherwise: dict[str, Any], targets: list[Dataset]) -> None:
    assert float((tuned(targets[0], **otherwise) - tuned(targets[0])).abs().max()) > 1e-3


@pytest.mark.parametrize("setting", [TUNE, PROBE], ids=str)
def test_a_use_learns_from_its_share_of_each_class_of_the_training_split(use_of, targets, setting) -> None:
    target, seen = targets[0], use_of(targets[0], setting)
    rows = labelled_rows(target.train, SHARE, 0)
    assert seen.labels.bincount().tolist() == [3, 3, 3, 3]
    assert torch.equal(seen.labels, target.train.labels[rows])
    everything = pixels(target.train) if setting.kind == "fine-tune" else seen.features
    torch.testing.assert_close(seen.images, everything[rows])


def relabelled(split: Split, labels: Tensor, images: Tensor | None = None) -> Split:
    images = split.take(torch.arange(len(split))) if images is None else images
    return Split.from_arrays(images, labels, split.classes, flips=split.flips)


def test_labels_outside_of_the_share_change_nothing(use_of, targets, monkeypatch: pytest.MonkeyPatch) -> None:
    train = targets[0].train
    rows = labelled_rows(train, SHARE, 0)
    outside = torch.ones(len(train), dtype=torch.bool).index_fill(0, rows, False)
    labels = torch.where(outside, (train.labels + 1) % 4, train.labels)
    images = train.take(torch.arange(len(train)))
    inverted = torch.where(outside[:, None, None, None], 255 - images, images)
    monkeypatch.setattr(uses, "labelled_rows", lambda *_: rows)
    other = dataclasses.replace(targets[0], train=relabelled(train, labels))
    dark = dataclasses.replace(targets[0], train=relabelled(train, labels, inverted))
    # Fine-tuning does not look at unlabelled images either; a probe takes their statistics.
    assert torch.equal(use_of(targets[0], TUNE).logits, use_of(dark, TUNE).logits)
    probes = [use_of(target, PROBE).probe for target in (targets[0], other)]
    assert torch.equal(probes[0].weight, probes[1].weight)


def test_no_use_learns_from_the_test_split(use_of, targets) -> None:
    test = targets[0].test
    images = 255 - test.take(torch.arange(len(test)))
    other = dataclasses.replace(targets[0], test=relabelled(test, (test.labels + 1) % 4, images))
    tunings = [use_of(target, TUNE) for target in (targets[0], other)]
    assert all(torch.equal(value, tunings[1].weights[name]) for name, value in tunings[0].weights.items())
    assert not torch.equal(tunings[0].logits, tunings[1].logits)
    probes = [use_of(target, PROBE).probe for target in (targets[0], other)]
    assert torch.equal(probes[0].weight, probes[1].weight)


def test_a_probe_reads_frozen_features_at_the_statistics_of_all_training_images(targets, make_protocol, run) -> None:
    target, network = targets[0], fresh(NETWORK, (1, 8, 8), 0)
    use = Use(network, NETWORK, 0, target, SPACE, make_protocol(), run)
    for share in (SHARE, 1.0):  # whatever is probed first
        use.outcome(Setting("probe", share))
    found = use._features
    images, block = [pixels(split) for split in (target.train, target.test)], network.blocks[0]
    with torch.no_grad():
        maps = block.conv(images[0])
        mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3))  # unbiased, as running statistics are
        for each, features in zip(images, found, strict=True):
            normed = nn.functional.batch_norm(block.conv(each), mean, variance, block.norm.weight, block.norm.bias)
            expected = nn.functional.avg_pool2d(normed.relu(), 2).flatten(1)
            torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_an_untouched_probe_reads_features_at_the_statistics_that_the_start_brings(targets, make_protocol, run) -> None:
    target, network = targets[0], fresh(NETWORK, (1, 8, 8), 0)
    norm = network.blocks[0].norm
    norm.running_mean.fill_(0.3)
    norm.running_var.fill_(2.0)
    use = Use(network, NETWORK, 0, target, SPACE, make_protocol(), run)
    for setting in (PROBE, Setting("untouched-probe", SHARE), PROBE):  # whatever is probed first
        use.outcome(setting)
    with torch.no_grad():
        for split, features in zip((target.train, target.test), use._untouched_features, strict=True):
            torch.testing.assert_close(features, network.eval().embed(pixels(split)), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(use._untouched_features[0], use._features[0], rtol=0.1)


def test_an_untouched_probe_is_a_use_beside_the_other(make_protocol) -> None:
    both = make_protocol(probe=True, untouched_probe=True, fine_tune=None, shares=(0.5, 1.0))
    assert [str(setting) for setting in both.settings()] == [
        "probe@0.5",
        "probe@1",
        "untouched-probe@0.5",
        "untouched-probe@1",
    ]


def test_a_probe_changes_no_weight_and_no_statistic_of_its_start(targets, make_protocol, run) -> None:
    network: Network = fresh(NETWORK, (1, 8, 8), 0).train()  # as a training leaves it
    before = copy.deepcopy(network.state_dict())
    use = Use(network, NETWORK, 0, targets[0], SPACE, make_protocol(), run)
    for kind in ("probe", "untouched-probe"):
        outcomes = [use.outcome(Setting(kind, SHARE)).accuracy for _ in range(2)]
        assert outcomes[0] == outcomes[1]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
