from __future__ import annotations

import os
import subprocess
import sys

import pytest

TRAINING = """
import os, sys
from condense import allocator
allocator.prepare()
assert "torch" not in sys.modules
import hashlib, torch
from torch.nn import functional
generator = torch.Generator().manual_seed(0)
weight = torch.randn(64, 8, 3, 3, generator=generator).requires_grad_()
for _ in range(3):
    images = torch.randn(64, 8, 64, 64, generator=generator)  # 64 MiB behind the convolution: above the threshold
    functional.conv2d(images, weight).relu().mean().backward()
print(hashlib.sha256(weight.grad.numpy().tobytes()).hexdigest(), os.environ["OMP_WAIT_POLICY"])
"""


def run(code: str, **environment: str) -> list[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, check=True, capture_output=True, text=True
    )
    return done.stdout.split()


def test_preparing_changes_no_bit_and_does_not_load_torch() -> None:
    prepared = run(TRAINING)
    plain = run(TRAINING.replace("allocator.prepare()", 'os.environ["OMP_WAIT_POLICY"] = "passive"'))
    assert prepared == plain
    assert prepared[1] == "passive"


def test_a_wait_policy_of_the_user_is_kept() -> None:
    show = "print(os.environ['OMP_WAIT_POLICY'], os.environ['OMP_NUM_THREADS'])"
    code = f"import os; from condense import allocator; allocator.prepare(3); {show}"
    assert run(code, OMP_WAIT_POLICY="active") == ["active", "3"]


PEAKS = """
from condense import allocator
allocator.prepare(1)
import torch
from condense.machine import PeakMemory

def peak(mebibytes):
    with PeakMemory() as found:
        torch.ones(mebibytes, 2**18)
    return found.bytes

nothing = peak(0)
print(*((peak(size) - nothing) >> 20 for size in (256, 0, 64)))
"""


def test_the_peak_of_a_block_leaves_out_what_earlier_work_has_freed() -> None:
    large, nothing, small = map(int, run(PEAKS))
    assert large == pytest.approx(256, abs=16)
    assert nothing == pytest.approx(0, abs=16)
    assert small == pytest.approx(64, abs=16)
