"""Facts about the machine a computation runs on: its speed, its memory, and the words that name it."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

import torch

from condense import allocator


def describe(device: str = "cpu") -> dict[str, Any]:
    """Hardware and software in words, for the volatile part of a record."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if torch.device(device).type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def keep_float32(device: str) -> None:
    """Has a GPU compute float32 in float32: by default PyTorch's convolutions round their inputs to 10 bits (TF32).

    For the rest of the process, before anything is computed. On a CPU there is no such rounding.
    """
    if torch.device(device).type == "cuda":
        # The older of PyTorch's two ways: its compiler reads that one, and refuses settings that disagree.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def engine(device: str = "cpu") -> dict[str, Any]:
    """What besides the configuration decides the bits of a result: device, threads, default precision, PyTorch.

    Of a GPU also whether float32 is rounded to TF32 in products or convolutions.
    """
    kind = torch.device(device).type
    facts: dict[str, Any] = {
        "device": kind if kind == "cpu" else f"{kind}: {torch.cuda.get_device_name(device)}",
        "threads": torch.get_num_threads() if kind == "cpu" else 0,
        "precision": str(torch.get_default_dtype()).removeprefix("torch."),
        "torch": torch.__version__.split("+")[0],
    }
    if kind == "cuda":
        cudnn: Any = torch.backends.cudnn
        facts["tf32"] = "tf32" in (cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
    return facts


def engine_words(device: str = "cpu") -> str:
    """The same for a reader of a record, without the precision: "cpu, 2 threads; torch 2.13.0"."""
    facts = engine(device)
    parts = [facts["device"]]
    if facts["threads"]:
        parts.append(f"{facts['threads']} threads")
    if "tf32" in facts:
        parts.append("TF32" if facts["tf32"] else "no TF32")
    return f"{', '.join(parts)}; torch {facts['torch']}"


@functools.cache
def operations_per_second(device: str = "cpu") -> float:
    """Rate of a mid-sized convolution, forward and backward, measured once a process in about 0.2 s.

    A multiply-add counts as two operations. It turns a method's `Cost` into seconds; a small network on small images
    runs below this rate, so an estimate made with it is a lower bound.
    """
    inputs = torch.randn(32, 64, 16, 16, device=device)
    weight = torch.randn(64, 64, 3, 3, device=device, requires_grad=True)

    def once() -> float:
        begin = time.perf_counter()
        torch.nn.functional.conv2d(inputs, weight, padding=1).sum().backward()
        if inputs.is_cuda:
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    once()
    best = min(once() for _ in range(5))
    return 2 * 2 * 32 * 64 * 64 * 9 * 256 / best  # forward and weight gradient


class PeakMemory:
    """Peak memory in bytes of a block: of the whole process on a CPU, of the allocator on a GPU.

    On Linux the kernel's high-water mark is reset when the block is entered, after memory that earlier work has freed
    went back to the system: what the process kept for later would count as the block's. Where it cannot be, the peak
    since the start of the process is given.
    """

    def __init__(self, device: str = "cpu"):
        self._device = torch.device(device)
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            allocator.give_back()
            # Not Linux, or not permitted: the peak then counts from the start of the process.
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device)
            return
        self.bytes = high_water_mark()


def high_water_mark() -> int:
    """Largest resident memory of this process so far, in bytes.

    On Linux that of the program itself: `getrusage`, read elsewhere, goes on from the process that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
