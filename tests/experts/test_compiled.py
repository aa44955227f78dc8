from __future__ import annotations

import dataclasses

import pytest
import torch
import torch._dynamo
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from condense import networks, preprocessing
from condense.data import Split
from condense.experts import MTT
from condense.experts.gradients import Batch, ExpertGradient, weighted_cross_entropy
from condense.experts.trainer import Pixels, Stream
from condense.flat import FlatNetwork
from condense.training import Engine

SHAPE = (3, 8, 8)

# torch 2.13 imports its own deprecated module when it compiles; to go when 2.14 is the minimum (2026-11).
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")


def expert(seed: int) -> tuple[FlatNetwork, Tensor]:
    network = networks.build("convnet-d2:width=4", SHAPE, 3, torch.Generator().manual_seed(seed))
    flat = FlatNetwork(network)
    return flat, flat.flatten(network)


def batch(count: int) -> Batch:
    images, clean = torch.randn(2, count, *SHAPE, generator=torch.Generator().manual_seed(count))
    return Batch(images, torch.arange(count) % 3, clean)


def test_one_graph_serves_all_experts_and_epochs() -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    loss = torch.compile(weighted_cross_entropy, backend=counter, fullgraph=True, dynamic=False)

    def ask(seed: int, count: int, weight: float) -> None:
        network, parameters = expert(seed)
        given = batch(count)
        loss(parameters, given.images, given.target, network, torch.tensor(weight), False)

    ask(0, 6, 1.0)
    ask(0, 6, 0.5)  # AST's ramp changes the weight from epoch to epoch
    ask(1, 6, 0.5)
    assert counter.frame_count == 1
    ask(0, 4, 1.0)  # the short batch at the end of an epoch
    assert counter.frame_count == 2


@pytest.mark.parametrize("engine", [Engine(), Engine(compile=True, channels_last=True)], ids=str)
def test_every_batch_comes_in_the_memory_order_that_is_compiled_for(engine: Engine) -> None:
    """What DSA draws for a step decides in which order it leaves the images."""
    pixels = torch.randint(256, (24, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    train = Split.from_arrays(pixels, torch.arange(24) % 3, ["a", "b", "c"])
    recipe = dataclasses.replace(MTT, batch=6)
    seen = Pixels(train, preprocessing.fit("normalise", train), torch.device("cpu"), engine)
    stream = Stream(seen, recipe, recipe.augmentation(train), 0)
    channels, height, width = SHAPE
    in_order = (1, width * channels, channels) if engine.channels_last else (height * width, width, 1)
    strides = {stream(epoch, step).images.stride() for epoch in range(6) for step in range(4)}
    assert strides == {(channels * height * width, *in_order)}


@pytest.mark.soak  # compiling takes 15 s a graph on a quiet machine
@pytest.mark.parametrize("penalty", [0.0, 2.0])
def test_machine_code_gives_the_same_gradient(penalty: float) -> None:
    network, parameters = expert(0)
    given = batch(6) if penalty else Batch(batch(6).images, batch(6).target, None)
    weight = torch.tensor(0.7)
    plain = ExpertGradient(network, penalty, Engine())(parameters[None], [given], weight)
    fast = ExpertGradient(network, penalty, Engine(compile=True, channels_last=True))(parameters[None], [given], weight)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))  # another order of sums
