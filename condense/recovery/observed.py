"""A teacher that reports, with its logits, the batch statistics of what enters each batch norm.

The teacher itself is left alone: a frozen copy has its batch norms replaced. Each of them normalises with the running
statistics, as in evaluation mode, and takes the mean and variance of its input beside. Both directions are one node of
the graph: forward reads the map once for the statistics and once to normalise it; backward adds the gradients of mean
and variance to the gradient of the output, where hooks would build a second and a third map of the same size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._prims_common import suggest_memory_format

from condense.errors import BadInput
from condense.networks import Network
from condense.preprocessing import Preprocessing
from condense.recovery.convolutions import filter_convolutions

if TYPE_CHECKING:
    from condense.run import Run
    from condense.teachers import Teacher


class Moments(NamedTuple):
    """Statistics of one batch norm's input, of the batch and as the teacher remembers them; (C,) each."""

    mean: Tensor
    variance: Tensor  # biased
    running_mean: Tensor
    running_variance: Tensor


class Answer(NamedTuple):
    """What a pass through an observed teacher gives."""

    logits: Tensor  # (N, K)
    moments: list[Moments]  # of the batch norms in the order of execution


class Observed(nn.Module):
    """A frozen copy of `network` that answers with `Answer`.

    Args:
        network: with running statistics in its batch norms.
        spaces: (of the images given, of the network); None when they are the same.

    Raises:
        BadInput: for a network without a two-dimensional batch norm, or with one that keeps no running statistics.
    """

    def __init__(self, network: Network, spaces: tuple[Preprocessing, Preprocessing] | None = None):
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._spaces = spaces
        self._seen: list[Moments] = []
        norms = [(path, layer) for path, layer in self.network.named_modules() if isinstance(layer, nn.BatchNorm2d)]
        check_norms(len(norms), type(network).__name__)
        for path, layer in norms:
            self.network.set_submodule(path, _ObservedNorm(layer, self._seen))

    def forward(self, images: Tensor) -> Answer:
        """Logits and moments of images (N, C, H, W) in the space that was stated."""
        self._seen.clear()
        if self._spaces is not None:
            ours, theirs = self._spaces
            images = theirs.forward(ours.inverse(images))
        logits = self.network(images)
        moments = list(self._seen)
        self._seen.clear()  # the moments hold on to the graph
        return Answer(logits, moments)


def check_norms(layers: int, network: str) -> None:
    """Refuses a network without a layer of two-dimensional batch norm, with BadInput."""
    if not layers:
        raise BadInput(
            f"{network} has no batch norm, so there are no statistics to recover images from; use a network with "
            "norm=batch"
        )


def observe(teachers: Sequence[Teacher], space: Preprocessing, run: Run) -> list[Observed]:
    """The teachers, observed, for images in `space` on the run's device.  Raises BadInput as `Observed`."""
    observed = []
    for teacher in teachers:
        same = teacher.preprocessing.digest == space.digest
        observed.append(placed(Observed(teacher.module(), None if same else (space, teacher.preprocessing)), run))
    return observed


def placed(observed: Observed, run: Run) -> Observed:
    """On the run's device; on a CPU in the memory order in which convolutions and batch norms need no conversion.

    Where a CPU runs compiled code, with `filter_convolutions`.
    """
    run.place(observed)
    if run.device.type == "cpu":
        if run.compiles:
            filter_convolutions(observed.network)
        observed.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in PyTorch's stubs
    return observed


class _ObservedNorm(nn.Module):
    """A batch norm in evaluation mode that notes the moments of its input."""

    running_mean: Tensor
    running_variance: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d, seen: list[Moments]):
        super().__init__()
        if norm.running_mean is None or norm.running_var is None:
            raise BadInput("a batch norm of the teacher keeps no running statistics; train it with them")
        deviation = (norm.running_var + norm.eps).sqrt()
        scale = 1 / deviation if norm.weight is None else norm.weight.detach() / deviation
        shift = -norm.running_mean * scale if norm.bias is None else norm.bias.detach() - norm.running_mean * scale
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_variance", norm.running_var)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self._seen = seen

    def forward(self, maps: Tensor) -> Tensor:
        normed, mean, variance = _normalise_and_observe(maps, self.scale, self.shift)
        self._seen.append(Moments(mean, variance, self.running_mean, self.running_variance))
        return normed


def _normalise_and_observe(maps: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    normed, mean, variance = _NormaliseAndObserve.apply(maps, scale, shift)
    return normed, mean, variance


class _NormaliseAndObserve(torch.autograd.Function):
    """maps (N, C, h, w) -> (scale * maps + shift, mean over N, h, w, biased variance over N, h, w).

    With n = N*h*w numbers a channel, gradients g of the output, g_m and g_v of the moments:
        d maps = scale * g + g_m / n + 2 g_v (maps - mean) / n
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _moments(maps)
        ctx.save_for_backward(maps, scale, mean)
        return _affine(maps, scale, shift), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        maps, scale, mean = ctx.saved_tensors
        of_output, of_mean, of_variance = gradients
        count = maps.numel() // maps.shape[1]
        slope = 2 * of_variance / count
        offset = of_mean / count - slope * mean
        if not torch.compiler.is_compiling():  # a compiler arranges memory by itself
            # The gradient of an average over the map comes expanded; in another order of memory than the maps it would
            # make every layer below it convert.
            of_output = of_output.contiguous(memory_format=suggest_memory_format(maps))
        return _affine(of_output, scale, offset).addcmul_(maps, _of_channels(slope)), None, None


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel."""
    if torch.compiler.is_compiling():  # one loop with what stands around it
        variance, mean = torch.var_mean(maps, dim=(0, 2, 3), correction=0)
        return mean, variance
    # Batch norm's own kernel is many times faster than a general reduction over three dimensions.
    mean, variance = torch.batch_norm_update_stats(maps, None, None, 0.0)
    return mean, variance


def _affine(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """scale * maps + shift a channel, in one pass: batch norm's own kernel, with nothing left to normalise."""
    if torch.compiler.is_compiling():  # in its own words, which a compiler computes again instead of keeping maps
        return maps * _of_channels(scale) + _of_channels(shift)
    return F.batch_norm(maps, torch.zeros_like(scale), torch.ones_like(scale), scale, shift, eps=0.0)


def _of_channels(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)
