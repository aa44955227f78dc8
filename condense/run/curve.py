"""Logged values of one phase: at most about a thousand points, kept as lines of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condense import files
from condense.errors import BadInput, DamagedFile, Diverged

POINTS = 1000


class Curve:
    """Which steps are kept depends on the number of steps alone, so a resumed phase keeps the same ones.

    Tensors are read from their device when the curve is checked, not when they are logged.
    """

    def __init__(self, path: Path, name: str, steps: int):
        self._path = path
        self._name = name
        self._last = steps - 1
        self._stride = max(1, -(-steps // POINTS))
        self._pending: list[tuple[int, str, Any]] = []
        self._latest: dict[str, tuple[int, Any]] = {}
        self.lines: list[dict[str, Any]] = []

    def load(self, step: int) -> None:
        """Takes the lines of a file that belong to the first `step` steps."""
        if not self._path.is_file():
            return
        try:
            lines = [json.loads(line) for line in self._path.read_text().splitlines()]
            self.lines = [line for line in lines if line["step"] < step]
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedFile(self._path, f"not lines of JSON with a step: {error!r}") from error

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        kept = step % self._stride == 0 or step == self._last
        for name, value in values.items():
            if isinstance(value, Tensor):
                if value.numel() != 1:
                    raise BadInput(f"run.log takes single numbers, {name} has the shape {tuple(value.shape)}")
                # A copy, because a method may go on changing its tensor in place.
                value = value.detach().clone()
            elif isinstance(value, bool) or not isinstance(value, int | float):
                raise BadInput(f"run.log takes numbers, {name} is {value!r}")
            self._latest[name] = (step, value)
            if kept:
                self._pending.append((step, name, value))

    def check(self) -> dict[str, float]:
        """Reads what was logged since the last check and returns the latest values.

        Raises:
            Diverged: when one of them is not finite.
        """
        latest = [(step, name, value) for name, (step, value) in self._latest.items()]
        values = _numbers([value for _, _, value in self._pending + latest])
        bad = None
        for (step, name, _), value in zip(self._pending, values, strict=False):
            if not self.lines or self.lines[-1]["step"] != step:
                self.lines.append({"step": step})
            self.lines[-1][name] = value if math.isfinite(value) else None
        for (step, name, _), value in zip(self._pending + latest, values, strict=True):
            if bad is None and not math.isfinite(value):
                bad = f"{self._name}, step {step}: {name} is {value}; lower a step size"
        self._pending.clear()
        if bad is not None:
            self.write()
            raise Diverged(bad)
        return {name: value for (_, name, _), value in zip(latest, values[len(values) - len(latest) :], strict=True)}

    def write(self) -> None:
        if self.lines:
            files.write_text(self._path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in self.lines))


def _numbers(values: list[Any]) -> list[float]:
    """Plain numbers of logged values, with one transfer for each device."""
    result: list[float] = [0.0 if isinstance(value, Tensor) else float(value) for value in values]
    places: dict[torch.device, list[int]] = {}
    for index, value in enumerate(values):
        if isinstance(value, Tensor):
            places.setdefault(value.device, []).append(index)
    for indices in places.values():
        numbers = torch.stack([values[index].reshape(()).double() for index in indices]).tolist()
        for index, number in zip(indices, numbers, strict=True):
            result[index] = number
    return result
