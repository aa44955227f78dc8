"""`Run` carries everything of a distillation that is not the algorithm: state, randomness, progress, clocks, caches.

A method is simply executed again from the top after an interruption. Every phase, job, shard and cached value that was
finished is found again and skipped, every unfinished phase goes on where its last checkpoint stands, and the result is
the same, bit for bit, as without the interruption (on a CPU with the same number of threads).
"""

from __future__ import annotations

from condense.run.jobs import Job, Jobs
from condense.run.run import Run
from condense.run.state import State
from condense.run.store import Shard, Store

__all__ = ["Job", "Jobs", "Run", "Shard", "State", "Store"]
