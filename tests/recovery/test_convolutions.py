"""Convolutions of frozen teachers by minimal filtering; what is compiled elsewhere runs as it is written here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from condense.networks import Network
from condense.recovery import Observed, convolutions
from condense.recovery.convolutions import FilteredConvolution, filter_convolutions


@pytest.fixture(autouse=True)
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "_convolved", lambda: convolutions._write_convolved)


def layer(inputs: int, outputs: int, *, bias: bool = False, **settings: int) -> nn.Conv2d:
    torch.manual_seed(0)
    made = nn.Conv2d(inputs, outputs, 3, bias=bias, **{"padding": 1, **settings})
    return made.double().requires_grad_(False)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5, 3, 8, 8), (7, 2, 16, 4), (1, 4, 7, 6), (3, 2, 2, 2)])
def test_it_is_the_layer(shape: tuple[int, ...], bias: bool) -> None:
    """Forward and backward, of maps that are cut into uneven pieces, end within tiles, or hardly fill one."""
    direct = layer(shape[1], 6, bias=bias)
    maps = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    found, expected = FilteredConvolution(direct)(maps), direct(maps)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    slopes = [torch.autograd.grad((weights * result).sum(), maps)[0] for result in (found, expected)]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize(("channels", "side", "bound"), [(64, 16, 2e-6), (512, 4, 4e-6)])
def test_its_rounding_is_that_of_float32(channels: int, side: int, bound: float) -> None:
    """Of maps and their gradient; the direct convolution has 2e-7, and six digits are more than recovery needs."""
    direct = layer(channels, channels)
    single = FilteredConvolution(layer(channels, channels).float())
    maps = torch.randn(4, channels, side, side, dtype=torch.float64).requires_grad_()
    small = maps.detach().float().requires_grad_()
    expected, found = direct(maps), single(small)
    weights = torch.randn_like(expected)
    slopes = torch.autograd.grad((weights * expected).sum(), maps)[0]
    single_slopes = torch.autograd.grad((weights.float() * found).sum(), small)[0]
    for rounded, exact in ((found, expected), (single_slopes, slopes)):
        assert ((rounded.double() - exact).norm() / exact.norm()).item() < bound


def test_the_operation_is_registered_soundly() -> None:
    kernels = FilteredConvolution(layer(3, 2)).kernels
    maps = torch.randn(2, 3, 5, 8, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(convolutions._filtered, (maps, kernels, False))
    assert torch.autograd.gradcheck(lambda given: convolutions._filtered(given, kernels, False), maps)


@pytest.mark.parametrize(
    ("direct", "fast"),
    [
        (layer(32, 48), True),
        (layer(16, 48), False),
        (layer(48, 16), False),
        (layer(32, 32, stride=2), False),
        (layer(32, 32, padding=0), False),
        (layer(32, 32, dilation=2, padding=2), False),
        (layer(32, 32, groups=2), False),
    ],
)
def test_only_what_is_faster_is_replaced(direct: nn.Conv2d, fast: bool) -> None:
    network = nn.Sequential(direct, nn.ReLU())
    filter_convolutions(network)
    assert isinstance(network[0], FilteredConvolution) is fast


def test_a_teacher_answers_as_before(with_statistics: Callable[..., Network]) -> None:
    observed = Observed(with_statistics("resnet10:norm=batch,width=16", shape=(3, 16, 16)))
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    expected = observed(images)
    filter_convolutions(observed.network)
    assert sum(isinstance(part, FilteredConvolution) for part in observed.modules()) == 3
    found = observed(images)
    torch.testing.assert_close(found.logits, expected.logits)
    torch.testing.assert_close(found.moments[-1].variance, expected.moments[-1].variance)
