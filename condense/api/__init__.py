"""The verbs: distil a set, load one, score one, and do both with many methods. The command line is a thin layer on top.

This package is the one place, besides the command line, that sees methods and judge at once.
"""

from __future__ import annotations

from condense.api.benching import BenchReport, bench
from condense.api.distilling import distill
from condense.api.gating import Gated, gate
from condense.api.place import RESULTS, SETS, WORK, Place, load, set_folder, sets
from condense.api.relabelling import relabel
from condense.api.scoring import score
from condense.api.transferring import TransferReport, transfer

__all__ = [
    "RESULTS",
    "SETS",
    "WORK",
    "BenchReport",
    "Gated",
    "Place",
    "TransferReport",
    "bench",
    "distill",
    "gate",
    "load",
    "relabel",
    "score",
    "set_folder",
    "sets",
    "transfer",
]
