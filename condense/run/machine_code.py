"""Machine code for what a method asks to have compiled, in every shape that it is called with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_GRAPHS = 512  # of one compiled function: architectures, and shapes of their batches


def machine_code(function: Callable[P, R]) -> Callable[P, R]:
    """The function, compiled when it is first called. Results move in their last bits."""
    import torch._dynamo

    graph: Callable[P, R] = torch.compile(function, dynamic=False)

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        # A committee on blocks of two sizes needs more graphs than the usual limit, beyond which the compiler leaves
        # the rest uncompiled, in an order that a continued process would not repeat.
        with torch._dynamo.config.patch(recompile_limit=_GRAPHS, accumulated_recompile_limit=_GRAPHS):
            return graph(*arguments, **named)

    return call
