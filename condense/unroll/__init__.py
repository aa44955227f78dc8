"""Differentiating through a student's training on the synthetic set, for trajectory matching.

Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022,
https://arxiv.org/abs/2203.11932.

    inner = InnerLoop(network, batches, prepare)
    outer = outer_loss(inner, Segment.ending_at(start, target, steps), images, labels, step_size)
    outer.loss.backward()
"""

from __future__ import annotations

from condense.unroll.choice import choose
from condense.unroll.engines import ENGINES, Engine, EngineName, outer_loss
from condense.unroll.inner import InnerLoop, Match, Outer, Prepare, Segment

__all__ = [
    "ENGINES",
    "Engine",
    "EngineName",
    "InnerLoop",
    "Match",
    "Outer",
    "Prepare",
    "Segment",
    "choose",
    "outer_loss",
]
