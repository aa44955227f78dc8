"""The adjoint's memory does not grow with the number of inner steps, but for the stored parameters."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# A fresh process for each training: the high-water mark of a process never falls, and a second training finds the heap
# of the first. VmHWM begins anew with a program, where getrusage goes on from the process that started it. Maps of
# 0.6 MB an image, so that one step's graph is large beside the interpreter's noise, and parameters small beside it, in
# the proportions of width 128 and 100 images; that cell itself takes minutes.
PROGRAM = """
import json, pathlib, resource, sys
import torch
from condense import networks
from condense.flat import FlatNetwork
from condense.unroll import Engine, InnerLoop, Segment, outer_loss

torch.set_num_threads(1)
name, steps, architecture = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = torch.Generator().manual_seed(0)
module = networks.build(architecture, (3, 32, 32), 10, rng)
network = FlatNetwork(module)
start = network.flatten(module)
images = torch.randn(100, 3, 32, 32, generator=rng).requires_grad_()
labels, step_size = torch.arange(100) % 10, torch.tensor(0.01, requires_grad=True)
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
inner = InnerLoop(network, [torch.arange(100)] * steps)
outer = outer_loss(inner, Segment.ending_at(start, start + 1, steps), images, labels, step_size, Engine(name))
outer.loss.backward()
status = dict(line.split(":") for line in pathlib.Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) * 1024
print(json.dumps({"peak": peak - before, "parameters": network.size * 4}))
"""


def grown(engine: str, short: int, long: int, network: str = "convnet-d2:width=32") -> float:
    """Peak memory of the longer training over that of the shorter, each above what its process held before.

    The parameters that the longer one stores beyond those of the shorter are taken off.
    """
    peaks = []
    # Every tensor goes back to the system when it is freed: what is left of a fragmented heap varies by a fifth.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    for steps in (short, long):
        words = [sys.executable, "-c", PROGRAM, engine, str(steps), network]
        run = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
        found = json.loads(run.stdout)
        peaks.append(found["peak"])
    return float((peaks[1] - (long - short) * found["parameters"]) / peaks[0])


@pytest.mark.soak  # some seconds
def test_memory_grows_by_the_stored_parameters_alone() -> None:
    assert grown("adjoint", 2, 8) <= 1.02


@pytest.mark.soak  # some minutes
def test_memory_grows_by_the_stored_parameters_alone_at_the_published_size() -> None:
    assert grown("adjoint", 15, 60, "convnet-d3:width=128") <= 1.10


@pytest.mark.soak
def test_the_full_unroll_would_be_seen_to_grow() -> None:
    assert grown("unroll", 2, 8) > 2.0
