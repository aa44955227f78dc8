"""What holds for every built-in network: sizes, gradients, determinism, initialisation, functional use."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from condense import networks
from condense.networks import Network

GREY = (1, 8, 8)
# One name of each family, in every norm it is used with; shallow where depth adds nothing to the test but time.
EACH = [
    "convnet",
    "convnet-d3:width=16",
    "convnet-d2:width=16,norm=batch",
    "convnet-d2:width=16,norm=group,pooling=max",
    "convnet-d2:width=16,norm=layer,pooling=none",
    "convnet-d2:width=16,norm=none,activation=softplus",
    "convnet-d2:width=8,growth=2,norm=batch,norm_at=input",
    "mlp",
    "lenet",
    "alexnet",
    "vgg11:width=16",
    "vgg11:width=16,norm=batch",
    "resnet10:width=8",
    "resnet18:width=8,norm=batch",
    "resnet50:width=8",
    "vit:width=32,depth=2,hidden=64",
    "mobilenet-v2:width=25",
    "shufflenet-v2:width=50",
    "efficientnet-b0:width=25",
    "densenet-121:growth=4",
]
every = pytest.mark.parametrize("name", EACH)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, shape: tuple[int, int, int] = GREY, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, *shape, generator=seeded(1), dtype=dtype)


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether all parameters and buffers are bit for bit equal."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


# Counted by hand, layer by layer: weights + biases, then norm gains and biases.
@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        # conv 3*9*128 + 128, twice 128*9*128 + 128, norms 3 * 256, linear 2048 * K + K.
        ("convnet-d3", (3, 32, 32), 10, 320_010),
        ("convnet-d3", (3, 32, 32), 100, 504_420),
        # Widths 128, 256, 512: conv 3*9*128 + 128, 128*9*256 + 256, 256*9*512 + 512; linear 8192 * K + K; norms
        # 2 * 896, or 2 * (128 + 256) where they come before the convolutions.
        ("convnet-d3:growth=2,norm=batch", (3, 32, 32), 10, 1_560_842 + 1_792),
        ("convnet-d3:growth=2,norm=batch,norm_at=input", (3, 32, 32), 10, 1_560_842 + 768),
        ("convnet-d4", (3, 64, 64), 200, 857_160),
        ("convnet-d4", (3, 64, 64), 1000, 2_496_360),
        ("convnet-d5", (3, 128, 128), 10, 615_690),
        ("convnet-d6", (3, 256, 256), 10, 763_530),
        # MNIST is padded to 32 px: 1*9*128 + 128 instead of 3*9*128 + 128.
        ("convnet-d3", (1, 28, 28), 10, 320_010 - 2 * 9 * 128),
        # 1*9*128 + 128 + 2 * (128*9*128 + 128) + 3 * 256 + 128 * 10 + 10.
        ("convnet-d3", (1, 8, 8), 10, 298_506),
        # (3*9*32 + 32) + 2 * (32*9*32 + 32) + 3 * 64 + 512 * 10 + 10; without norm 3 * 64 fewer.
        ("convnet-d3:width=32", (3, 32, 32), 10, 24_714),
        ("convnet-d3:width=32,norm=none", (3, 32, 32), 10, 24_714 - 192),
        # 3072*128 + 128 + 128*128 + 128 + 128*10 + 10.
        ("mlp", (3, 32, 32), 10, 411_146),
        # 6*75 + 6 + 16*150 + 16 + 400*120 + 120 + 120*84 + 84 + 84*10 + 10.
        ("lenet", (3, 32, 32), 10, 62_006),
        # 128*75 + 128 + 192*3200 + 192 + 256*1728 + 256 + 192*2304 + 192 + 192*1728 + 192 + 3072*10 + 10.
        ("alexnet", (3, 32, 32), 10, 1_872_202),
        # 9*(3*64 + 64*128 + 128*256 + 256*256 + 256*512 + 3 * 512*512) + 3 * 2752 for biases and norms + 512*10 + 10.
        ("vgg11", (3, 32, 32), 10, 9_231_114),
        # Stem 1856; stages 73 984, 230 144, 919 040, 3 673 088 (norms and projections included); linear 5130.
        ("resnet10", (3, 32, 32), 10, 4_903_242),
        # As above with a second block a stage: + 73 984 + 295 424 + 1 180 672 + 4 720 640.
        ("resnet18", (3, 32, 32), 10, 11_173_962),
        # (3, 4, 6, 3) blocks: resnet18 + 73 984 + 2 * 295 424 + 4 * 1 180 672 + 4 720 640.
        ("resnet34", (3, 32, 32), 10, 21_282_122),
        # Stem 1856, stages 215 808, 1 219 584, 7 098 368, 14 964 736, linear 2048*10 + 10.
        ("resnet50", (3, 32, 32), 10, 23_520_842),
        # Patches 6272, positions 64*128, six blocks of 132 480, norm 256, linear 1290.
        ("vit", (3, 32, 32), 10, 810_890),
        # As published for 1000 classes, with a classifier for 10; the 7x7 stem of densenet is 3x3 besides.
        ("mobilenet-v2", (3, 32, 32), 10, 3_504_872 - 1281 * 990),
        ("shufflenet-v2", (3, 32, 32), 10, 2_278_604 - 1025 * 990),
        ("shufflenet-v2:width=50", (3, 32, 32), 10, 1_366_792 - 1025 * 990),
        ("efficientnet-b0", (3, 32, 32), 10, 5_288_548 - 1281 * 990),
        ("densenet-121", (3, 32, 32), 10, 7_978_856 - 1025 * 990 - (49 - 9) * 3 * 64),
    ],
)
def test_parameter_counts_are_those_counted_by_hand(
    name: str, shape: tuple[int, int, int], classes: int, count: int
) -> None:
    assert networks.parameter_count(networks.build(name, shape, classes)) == count


@every
@pytest.mark.parametrize("shape", [GREY, (3, 32, 32), (1, 28, 28), (2, 17, 24)])
def test_forward_and_backward_are_finite_at_every_size(name: str, shape: tuple[int, int, int]) -> None:
    network = networks.build(name, shape, 7, seeded())
    batch = images(3, shape).requires_grad_()
    logits = network(batch)
    assert logits.shape == (3, 7)
    gradients = torch.autograd.grad(logits.square().sum(), [batch, *network.parameters()])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[0].abs().sum() > 0  # the image matters
    assert logits.std(0).min() > 0  # and so the answers differ between images


def test_large_images_go_through_every_row() -> None:
    for name in networks.names():
        network = networks.build(name, (3, 64, 64), 5).to("meta")  # shapes only: full widths cost too much here
        assert network(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 5)


@every
def test_the_classifier_reads_the_embedding(name: str) -> None:
    network = networks.build(name, GREY, 4, seeded()).eval()
    embedding = network.embed(images(3))
    assert embedding.shape == (3, network.classifier.in_features)
    assert torch.equal(network.classifier(embedding), network(images(3)))


@every
def test_weights_come_from_the_generator_and_from_nothing_else(name: str) -> None:
    torch.manual_seed(0)
    first = networks.build(name, GREY, 4, seeded())
    torch.manual_seed(1)
    before = torch.get_rng_state()
    second = networks.build(name, GREY, 4, seeded())
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, second)
    assert not same(first, networks.build(name, GREY, 4, seeded(6)))


@every
def test_initialising_gives_the_values_of_building_whatever_was_there(name: str) -> None:
    fresh = networks.build(name, GREY, 4, seeded())
    used = networks.build(name, GREY, 4, seeded(6))
    used(images(5))  # moves running statistics, where there are any
    generator = seeded()
    networks.initialise(used, generator)
    assert same(used, fresh)
    networks.initialise(used, generator)
    assert not same(used, fresh)  # the generator goes on


@every
def test_values_do_not_depend_on_memory_format_or_precision(name: str) -> None:
    fresh = networks.build(name, GREY, 4, seeded())
    other = networks.build(name, GREY, 4).to(memory_format=torch.channels_last).double()
    networks.initialise(other, seeded())
    assert same(other.float(), fresh)


@every
def test_weights_have_pytorchs_default_distribution(name: str) -> None:
    network = networks.build(name, GREY, 4, seeded())
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            weights = layer.weight.flatten()
            assert weights.abs().max() <= bound
            spread = bound / 3**0.5
            # Five standard errors of the mean, and of the standard deviation of a uniform distribution.
            assert weights.mean().abs() < 5 * spread / len(weights) ** 0.5
            assert (weights.std() / spread - 1).abs() < 5 * 0.45 / len(weights) ** 0.5
        elif isinstance(layer, nn.GroupNorm | nn.BatchNorm2d | nn.LayerNorm):
            assert (layer.weight == 1).all()
            assert (layer.bias == 0).all()


@every
def test_gradients_of_gradients_exist(name: str) -> None:
    """Gradient matching differentiates the gradient of the loss with respect to the images."""
    network = networks.build(name, GREY, 4, seeded())
    batch = images(3).requires_grad_()
    loss = nn.functional.cross_entropy(network(batch), torch.tensor([0, 1, 2]))
    gradients = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
    (second,) = torch.autograd.grad(sum(gradient.square().sum() for gradient in gradients), batch)
    assert second.isfinite().all()
    assert second.abs().sum() > 0


@pytest.mark.parametrize("name", ["convnet-d2:width=4,activation=softplus", "vit:width=8,depth=1,heads=2,hidden=8"])
def test_the_input_gradient_is_the_derivative(name: str) -> None:
    network = networks.build(name, (1, 4, 4), 2, seeded()).double()
    assert torch.autograd.gradcheck(network, (images(2, (1, 4, 4), torch.float64).requires_grad_(),))


@every
def test_channels_last_gives_the_same_answers(name: str) -> None:
    network = networks.build(name, GREY, 4, seeded()).double()
    expected = network(images(3, dtype=torch.float64))
    network = network.to(memory_format=torch.channels_last)
    strided = images(3, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(strided), expected, rtol=0, atol=1e-10)  # float64, another order of summation


@every
def test_stacked_parameters_train_as_separate_networks(name: str) -> None:
    """Parameters and buffers stacked for vmap; running statistics, being buffers, are stacked and updated as well."""
    separate = [networks.build(name, GREY, 4, seeded(seed)).double() for seed in (1, 2)]
    base = copy.deepcopy(separate[0]).to("meta")
    batch = images(4, dtype=torch.float64)
    expected = torch.stack([network(batch) for network in separate])  # moves their running statistics

    originals = [networks.build(name, GREY, 4, seeded(seed)).double() for seed in (1, 2)]
    parameters, buffers = torch.func.stack_module_state(originals)
    out = torch.func.vmap(lambda p, b: torch.func.functional_call(base, (p, b), (batch,)))(parameters, buffers)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-9)  # float64, batched kernels
    for key, stacked in buffers.items():
        for value, network in zip(stacked, separate, strict=True):
            torch.testing.assert_close(value, network.get_buffer(key), rtol=0, atol=1e-9)


def test_without_running_statistics_training_and_evaluation_are_the_same_function() -> None:
    for name in ("convnet-d3:width=16", "resnet10:width=8", "vgg11:width=16", "vit:width=32,depth=1"):
        network = networks.build(name, GREY, 4, seeded())
        assert not list(network.buffers())
        assert torch.equal(network.train()(images(3)), network.eval()(images(3)))


def test_instance_norm_is_normalisation_of_each_map() -> None:
    block = networks.build("convnet-d1:width=8,activation=tanh", GREY, 4, seeded()).blocks[0]
    maps = block.conv(images(3))
    torch.testing.assert_close(block.norm(maps), nn.functional.instance_norm(maps, eps=1e-5))


def test_a_convnets_activations_are_those_of_its_blocks() -> None:
    network = networks.build("convnet-d3:width=16", GREY, 4, seeded())
    activations = network.activations(images(3))
    assert [tuple(maps.shape) for maps in activations.maps] == [(3, 16, 8, 8), (3, 16, 4, 4), (3, 16, 2, 2)]
    assert all((maps >= 0).all() for maps in activations.maps)
    assert torch.equal(activations.embedding, network.embed(images(3)))
    pooled = nn.functional.avg_pool2d(activations.maps[-1], 2)
    assert torch.equal(pooled.flatten(1), activations.embedding)


@pytest.mark.parametrize("name", ["resnet18:width=8", "vgg11:width=8", "convnet-d3:width=8"])
def test_maps_of_small_images_do_not_shrink_to_one_pixel_before_the_last_norm(name: str) -> None:
    """Instance norm makes a constant of a one-pixel map, and the network would answer the same to every image."""
    network = networks.build(name, GREY, 4, seeded())
    sizes: list[int] = []
    for layer in network.modules():
        if isinstance(layer, nn.GroupNorm):
            layer.register_forward_hook(lambda _, inputs, __: sizes.append(inputs[0][0, 0].numel()))
    network(images(2))
    assert min(sizes) == 4


def test_a_network_and_its_copy_are_networks() -> None:
    network = networks.build("lenet", GREY, 3, seeded())
    assert isinstance(network, Network)
    assert same(copy.deepcopy(network), network)
