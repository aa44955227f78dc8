"""The adjoint's memory does not grow with the number of inner steps, but for the stored parameters."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# A fresh process: the high-water mark of this one says nothing. Maps of 0.6 MB an image, so that one step's graph is
# large beside the interpreter's noise, and parameters small beside it, in the proportions of width 128 and 100 images.
PROGRAM = """
import json, resource, sys
import torch
from condense import networks
from condense.flat import FlatNetwork
from condense.unroll import Engine, InnerLoop, Segment, outer_loss

torch.set_num_threads(1)
name, short, long = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = torch.Generator().manual_seed(0)
module = networks.build("convnet-d2:width=32", (3, 32, 32), 10, rng)
network = FlatNetwork(module)
start = network.flatten(module)
images = torch.randn(100, 3, 32, 32, generator=rng).requires_grad_()
labels, step_size = torch.arange(100) % 10, torch.tensor(0.01, requires_grad=True)
peaks = []
for steps in (short, long):
    inner = InnerLoop(network, [torch.arange(100)] * steps)
    outer = outer_loss(inner, Segment.ending_at(start, start + 1, steps), images, labels, step_size, Engine(name))
    outer.loss.backward()
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(json.dumps({"peaks": peaks, "parameters": network.size * 4}))
"""


def peaks(engine: str, short: int, long: int) -> tuple[int, int, int]:
    """Peak bytes after a short and then a long training in one process, and the bytes of its parameters."""
    words = [sys.executable, "-c", PROGRAM, engine, str(short), str(long)]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    return (*found["peaks"], found["parameters"])


@pytest.mark.soak  # some seconds
def test_memory_grows_by_the_stored_parameters_alone() -> None:
    short, long, parameters = peaks("adjoint", 2, 8)
    assert long <= 1.10 * short + 6 * parameters


@pytest.mark.soak
def test_the_full_unroll_would_be_seen_to_grow() -> None:
    short, long, parameters = peaks("unroll", 2, 8)
    assert long > 1.5 * short + 6 * parameters
