"""The machine's convolution peak: what a step could reach if it consisted of large 3x3 convolutions alone.

    python benchmarks/peak.py [--threads 2]

One convolution of 128 to 128 channels on 100 maps of 16 x 16, the middle layer of ConvNet-D3 at width 128: forward,
gradient of the input, gradient of the weights. The peak of a type is that of all three together, the mix that a
training step is made of. Prints one JSON object, in units of 1e9 operations a second, a multiply-add counting as two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from processes import run_as_script

from condense import allocator

BATCH, CHANNELS, SIDE = 100, 128, 16
OPERATIONS = 2 * BATCH * CHANNELS * CHANNELS * 9 * SIDE * SIDE  # of each of the three
PARTS = {"forward": None, "input-gradient": (True, False, False), "weight-gradient": (False, True, False)}


def convolution_peak(dtype: torch.dtype, repeats: int = 15) -> dict[str, float]:
    """1e9 operations a second of the three parts, and of a forward and backward pass in all (key "step")."""
    images, weight, gradient = (
        torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)
        for shape in (
            (BATCH, CHANNELS, SIDE, SIDE),
            (CHANNELS, CHANNELS, 3, 3),
            (BATCH, CHANNELS, SIDE, SIDE),
        )
    )
    geometry = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)  # stride, padding, dilation, transposed, padding, groups
    seconds = {}
    for part, wanted in PARTS.items():

        def once(wanted: tuple[bool, bool, bool] | None = wanted) -> Any:
            if wanted is None:
                return torch.ops.aten.convolution(images, weight, None, *geometry)
            return torch.ops.aten.convolution_backward(gradient, images, weight, None, *geometry, wanted)

        seconds[part] = _median_seconds(once, repeats)
    rates = {part: OPERATIONS / value / 1e9 for part, value in seconds.items()}
    return rates | {"step": 3 * OPERATIONS / sum(seconds.values()) / 1e9}


def _median_seconds(work: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats + 2):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[2:])  # the first two find their memory and their kernels


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(options.parse_args().threads)
    rates = {str(dtype).removeprefix("torch."): convolution_peak(dtype) for dtype in (torch.float32, torch.bfloat16)}
    print(json.dumps({"threads": torch.get_num_threads(), "rates": rates}, indent=1))


if __name__ == "__main__":
    allocator.keep_memory()
    run_as_script(main)
