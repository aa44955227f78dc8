from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from condense import preprocessing
from condense.data import Split
from condense.distilled.labels import HardLabels, Representations
from condense.errors import BadInput
from condense.training import Engine, Recipe, Resident, SplitSource, accuracy, on_device, predict, sources, train_seeds


class Echo(nn.Module):
    """Reads the class that was written into the first pixel."""

    def __init__(self, wrong: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))
        self.wrong = wrong

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        classes = images[:, 0, 0, 0].long()
        return nn.functional.one_hot(torch.where(images[:, 0, 0, 1] < self.wrong, 3 - classes, classes), 4).float()


def marked(count: int) -> Resident:
    images = torch.zeros(count, 1, 2, 2)
    images[:, 0, 0, 0] = torch.arange(count) % 4
    images[:, 0, 0, 1] = torch.arange(count)
    return Resident(images, HardLabels(torch.arange(count) % 4, 4), 4)


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
@pytest.mark.parametrize("wrong", [0, 1, 13, 101])
def test_accuracy_is_an_exact_count(batch: int, wrong: int) -> None:
    network = Echo(wrong).train()
    assert accuracy(network, marked(101), batch=batch) == (101 - wrong) / 101
    assert network.training


def test_answers_come_in_the_order_of_the_source() -> None:
    assert torch.equal(predict(Echo(0), marked(10), batch=3).argmax(1), torch.arange(10) % 4)


def test_accuracy_needs_images_and_classes() -> None:
    source = marked(4)
    with pytest.raises(BadInput, match="cannot measure accuracy on an empty set"):
        accuracy(Echo(0), Resident(source.images[:0], source.labels, 4))
    with pytest.raises(BadInput, match="say no class per image"):
        accuracy(Echo(0), Resident(source.images, Representations(torch.zeros(4, 2)), 4))


@pytest.fixture
def split() -> Split:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, 3, 4, 4), generator=generator, dtype=torch.uint8)
    return Split.from_arrays(pixels, torch.arange(60) % 4, ["a", "b", "c", "d"])


@pytest.mark.parametrize("kind", ["identity", "normalise", "zca"])
def test_a_real_split_gathers_preprocessed_images(kind: str, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    space = preprocessing.fit(kind, split)
    source = SplitSource(split, space)
    rows = torch.tensor([3, 59, 0, 3])
    expected = space.forward(split.take(rows))
    cpu = torch.device("cpu")
    assert torch.equal(source.gather(rows, cpu), expected)
    monkeypatch.setattr(sources, "_CHUNK", 7)
    ready = on_device(source, cpu)
    assert isinstance(ready, Resident) == (kind == "zca")  # the others stay bytes
    torch.testing.assert_close(ready.gather(rows, cpu), expected)
    assert torch.equal(ready.labels.hard(), split.labels)
    assert (len(ready), ready.n_classes) == (60, 4)


def test_a_source_too_large_for_the_device_stays_lazy(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SplitSource(split, preprocessing.fit("zca", split))
    monkeypatch.setattr(sources, "RESIDENT_BYTES", 60 * 48 * 4 - 1)
    assert on_device(source, torch.device("cpu")) is source


# torch 2.13 imports its own deprecated module when it compiles; to go when 2.14 is the minimum (2026-11).
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.soak)])
def test_compiled_training_and_testing_agree_with_the_plain_ones(
    precision: str, stream: Callable[..., object], source: Resident, build: Callable[..., object]
) -> None:
    recipe = Recipe(3, 64, precision=precision)
    plain = Engine(precision=precision)
    fast = Engine(compile=True, channels_last=True, precision=precision)
    rngs = [stream(0), stream(1)]
    slow_networks = train_seeds(build("convnet-d1:width=8"), source, recipe, rngs, engine=plain)
    fast_networks = train_seeds(build("convnet-d1:width=8"), source, recipe, rngs, engine=fast)
    tolerance = 1e-5 if precision == "float32" else 5e-3  # another order of summation; bfloat16 has 8 bits
    for slow, quick in zip(slow_networks, fast_networks, strict=True):
        expected = torch.cat([value.flatten() for value in slow.state_dict().values()])
        found = torch.cat([value.flatten() for value in quick.state_dict().values()])
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    answers = predict(fast_networks[0], source, batch=16, engine=fast)  # 40 images: the last batch is filled up
    torch.testing.assert_close(answers, predict(fast_networks[0], source), rtol=0, atol=50 * tolerance)
