"""What a loop makes an accelerator wait for, found without one: tensors of the device "meta" have shapes and no data.

Whatever fetches a value from there fails or is seen, and so does an upload that waits for the device's queue.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from condense.run import Run

AWAY = torch.device("meta")
_HERE = Path(__file__).resolve()


class Watched(TorchDispatchMode):
    """Notes everything that would wait, by what it is and the line that asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (what := _wait(func.overloadpacket._qualified_op_name, args, kwargs or {})) is not None:
            self.waits.append(f"{what} at {_caller()}")
        return func(*args, **(kwargs or {}))


def _wait(operation: str, args: Any, kwargs: dict[str, Any]) -> str | None:
    away = any(tensor.device == AWAY for tensor in _tensors(args))
    if operation == "aten::_to_copy":
        there = torch.device(kwargs.get("device") or args[0].device)
        if there == AWAY and not away:
            return None if kwargs.get("non_blocking") else "a blocking upload"
        return "a fetch" if away and there != AWAY else None
    if operation == "aten::copy_" and args[0].device != args[1].device:
        return None if args[2:] and args[2] else "a blocking copy"
    if operation in ("aten::_local_scalar_dense", "aten::nonzero") and away:
        return "a look at a value"
    if operation.startswith(("aten::index", "aten::gather", "aten::scatter")) and away:
        if any(tensor.dtype == torch.bool for tensor in _tensors(args[1:2])):
            return "a look at a value"  # how many are chosen
        here = [tensor for tensor in _tensors(args) if tensor.device != AWAY and tensor.ndim]
        return "indices from elsewhere" if here else None
    return None


def _tensors(args: Any) -> Iterator[torch.Tensor]:
    for arg in args:
        if isinstance(arg, torch.Tensor):
            yield arg
        elif isinstance(arg, (list, tuple)):
            yield from _tensors(arg)


def _caller() -> str:
    """The innermost line of the project."""
    root = _HERE.parents[2]
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename).resolve()
        if path != _HERE and path.is_relative_to(root) and "site-packages" not in path.parts:
            return f"{path.relative_to(root)}:{frame.lineno}"
    return "?"


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """What waits meanwhile; mixed precision, which "meta" does not know, is left out."""
    with mock.patch.object(torch, "autocast", return_value=contextlib.nullcontext()), Watched() as mode:
        yield mode.waits


class AwayRun(Run):
    """A run on the device without data: its loops make two steps, which are watched, and keep nothing.

    Around the loops `Tensor.cpu` hands out zeros, for what a method looks at once.
    """

    def __init__(self, folder: Path):
        super().__init__(folder / "run", seed=0, cache_dir=folder / "cache", device=AWAY)
        self.waits: list[str] = []
        self.steps = 0
        self._stepping = False

    def loop(self, name: str, steps: int, state: Any = None) -> Iterator[int]:
        for step in range(min(steps, 2)):
            self._stepping = True
            with watched() as waits:
                yield step
            self._stepping = False
            self.waits += waits
            self.steps += 1

    def log(self, **values: Any) -> None:
        """Numbers are read every `check_every` steps only."""

    def __enter__(self) -> Self:
        def cpu(tensor: torch.Tensor) -> torch.Tensor:
            known = self._stepping or tensor.device != AWAY
            return fetch(tensor) if known else torch.zeros(tensor.shape, dtype=tensor.dtype)

        fetch = torch.Tensor.cpu
        self._held.enter_context(mock.patch.object(torch.Tensor, "cpu", cpu))
        return self
