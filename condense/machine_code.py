"""Machine code of functions, in every shape that they are called with."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_GRAPHS = 512  # of one compiled function: architectures, and shapes of their batches


@contextlib.contextmanager
def many_graphs() -> Iterator[None]:
    """While compiled functions are called: as many graphs as they need.

    A committee on blocks of two sizes needs more than the usual limit, beyond which the compiler leaves the rest
    uncompiled, in an order that a continued process would not repeat.
    """
    import torch._dynamo

    with torch._dynamo.config.patch(recompile_limit=_GRAPHS, accumulated_recompile_limit=_GRAPHS):
        yield


def machine_code(function: Callable[P, R]) -> Callable[P, R]:
    """The function, compiled when it is first called. Results move in their last bits.

    It becomes one graph; what cannot be a part of that is an error, not a piece that runs uncompiled.
    """
    import torch

    graph: Callable[P, R] = torch.compile(function, fullgraph=True, dynamic=False)

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        with many_graphs():
            return graph(*arguments, **named)

    return call
