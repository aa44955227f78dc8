"""Random numbers by counter: any of them at once, in any order, without drawing those before it.

Number i of a stream is a function of (seed, stream, i) alone. They come from Philox-4x64 (Salmon, Moraes, Dror & Shaw,
"Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), whose raw output NumPy keeps the same in every version. So
what is derived from them needs not be stored, and is the same again on another machine, years later.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from condense.errors import BadInput

_WORDS = 4  # that Philox gives for one counter
_MASK = (1 << 64) - 1
_TO_UNIT = 2.0**-53


def uniform(seed: int, stream: tuple[int, int], rows: int, columns: int, first: int = 0) -> Tensor:
    """Rows `first` .. `first + rows - 1` of a table without end, numbers in [0, 1).  Returns (rows, columns) float64.

    stream: two whole numbers that name the table, such as (purpose, epoch).

    Raises:
        BadInput: for a number that is negative or does not fit into 64 bits.
    """
    for name, value in (("seed", seed), ("stream", stream[0]), ("stream", stream[1]), ("first", first)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MASK:
            raise BadInput(f"{name} of a counter-based draw must be a whole number in [0, 2^64), got {value!r}")
    blocks = -(-columns // _WORDS)  # counters that a row takes, so that rows start at a counter of their own
    low, high = (first * blocks) & _MASK, (first * blocks) >> 64
    # As arrays: NumPy would pass lists of numbers beyond 2^63 through floats.
    key, counter = np.array([seed, 0], np.uint64), np.array([low, high, *stream], np.uint64)
    raw = np.random.Philox(key=key, counter=counter).random_raw(rows * blocks * _WORDS)
    # 53 bits, so that no number rounds up to 1.
    values = (np.asarray(raw, dtype=np.uint64) >> np.uint64(11)).astype(np.float64) * _TO_UNIT
    return torch.from_numpy(values).view(rows, blocks * _WORDS)[:, :columns].contiguous()
