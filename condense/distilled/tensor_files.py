"""Foreign `.pt` files, read without ever running what a pickle could hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condense.errors import BadInput, DamagedFile

# Numbers that NumPy made: the function that restores them, under the names it has had, and their types.
_SCALAR = np.int64(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.int32, np.int64, np.float32, np.float64)),
]

_DTYPES = frozenset(
    {
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    }
)


def read_tensor(path: Path) -> Tensor:
    """One tensor, on the CPU.

    Raises:
        BadInput: when the file is absent or holds something else than one dense, real tensor that is not empty.
        DamagedFile: when it cannot be read as tensors alone; code in it is never run.
    """
    value = read_plain(path)
    if not isinstance(value, Tensor):
        raise BadInput(f"{path} holds {type(value).__name__}, expected one tensor; save the tensor by itself")
    require_dense(value, path)
    return value.detach()


def require_dense(tensor: Tensor, place: Path) -> None:
    """Refuses, with BadInput, what is no dense, real tensor with at least one element; `place` is named."""
    if tensor.is_nested or tensor.layout != torch.strided or tensor.device.type == "meta":
        kind = "nested" if tensor.is_nested else "without values" if tensor.device.type == "meta" else "sparse"
        raise BadInput(f"{place} holds a tensor that is {kind}, expected a dense one; save tensor.to_dense()")
    if tensor.dtype not in _DTYPES:
        found = str(tensor.dtype).removeprefix("torch.")
        raise BadInput(f"{place} holds a tensor of {found}, expected whole or floating-point numbers; convert it")
    if tensor.numel() == 0:
        raise BadInput(f"{place} holds an empty tensor, {tuple(tensor.shape)}; save it again")


def read_number(path: Path) -> float:
    """One number, stored as such or as a tensor of one element.

    Raises:
        BadInput, DamagedFile: as `read_tensor`.
    """
    value = read_plain(path)
    if isinstance(value, Tensor):
        require_dense(value, path)
        if value.numel() == 1:
            return float(value)
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return float(value)
    raise BadInput(f"{path} holds {type(value).__name__}, expected one number")


def read_sharded(folder: Path, stem: str) -> Tensor:
    """`<stem>.pt`, or its shards `<stem>_0.pt`, `<stem>_1.pt`, ... in numeric order, joined along the first axis.

    Raises:
        BadInput: when there is neither, both, a shard is missing, or they do not fit each other.
    """
    whole = folder / f"{stem}.pt"
    shards = _shards(folder, stem)
    if whole.exists() and shards:
        raise BadInput(f"{folder} holds both {whole.name} and {shards[0].name}; keep the one that is meant")
    if whole.exists():
        return read_tensor(whole)
    if not shards:
        raise BadInput(f"{folder} holds no {stem}.pt and no {stem}_0.pt; give the folder of the published set")
    parts = [read_tensor(path) for path in shards]
    for path, part in zip(shards, parts, strict=True):
        if part.ndim == 0 or part.shape[1:] != parts[0].shape[1:]:
            raise BadInput(
                f"{path} holds a tensor of {tuple(part.shape)}, {shards[0].name} one of {tuple(parts[0].shape)}; they "
                "should be alike but for the first number: fetch the shards of one run"
            )
    return torch.cat(parts)


def _shards(folder: Path, stem: str) -> list[Path]:
    numbered = {
        int(match[1]): path
        for path in folder.glob(f"{stem}_*.pt")
        if (match := re.fullmatch(rf"{re.escape(stem)}_(\d+)\.pt", path.name))
    }
    if not numbered:
        return []
    first = min(numbered)
    for index in range(first, first + len(numbered)):
        if index not in numbered:
            raise BadInput(f"{folder} lacks {stem}_{index}.pt, although it holds a later shard; fetch it")
    return [numbered[index] for index in sorted(numbered)]


def read_plain(path: Path) -> Any:
    """Lists, tuples and dicts of tensors, numbers and texts, on the CPU.

    Raises:
        BadInput: when the file is absent.
        DamagedFile: when it cannot be read as these alone; code in it is never run.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise BadInput(f"{path} {what}; give the file or folder of the published set")
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for a file that is not what it expects
        # Its own text advises to read the file in the way that runs what is in it.
        why = "it holds objects of other kinds" if "Unsupported" in str(error) else type(error).__name__
        raise DamagedFile(path, f"cannot be read as tensors and numbers alone: {why}") from error
