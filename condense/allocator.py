"""Memory and waiting of a computing process: large buffers stay mapped, waiting threads sleep. Changes no result.

glibc hands every buffer above its threshold (at most 32 MiB) back to the kernel when it is freed and asks for a new
one the next time, so a training step faults its activations in page by page, again and again. Keeping them in the heap
made a plain training step of a ConvNet of width 128 1.7 times faster and a compiled one 1.25 times, with equal bits
(measured by benchmarks/judge.py; see results/benchmarks/judge.json).

This module imports nothing heavy: `prepare` must run before PyTorch is loaded for the wait policy to count.
"""

from __future__ import annotations

import ctypes
import os
import platform

# glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def prepare(threads: int | None = None) -> None:
    """Called once by the command line before anything computes, never at import.

    - glibc keeps freed memory in the process, so peak memory can be higher and falls only at exit. Elsewhere (musl,
      macOS, Windows) the allocator is left as it is.
    - OpenMP threads that wait for work sleep instead of spinning, unless OMP_WAIT_POLICY says otherwise: where other
      processes want the cores, spinning was measured to cost up to 25 times.

    Args:
        threads: of one operation; by default what OMP_NUM_THREADS says, else one per core.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    keep_memory()


def keep_memory() -> bool:
    """Makes glibc serve every size from the heap and never shrink it; False where there is no glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # No mapping of its own for any buffer; and -1 means that the heap is never trimmed.
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


def give_back() -> bool:
    """Hands freed memory back to the system at once, kept or not; False where there is no glibc."""
    return platform.libc_ver()[0] == "glibc" and bool(ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0)))
