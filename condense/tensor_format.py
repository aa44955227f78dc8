"""The bytes of a safetensors file, one tensor at a time.

The library's own writers put metadata in random order, and either hold all bytes in memory or leave temporaries under
names of their own when they are killed; reading stays with the library.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from condense.errors import BadInput

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.bool: "BOOL",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64",
}  # fmt: skip


def encode(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Iterator[bytes | memoryview]:
    """The parts of the file, in order.  `path` is named in errors.

    Raises:
        BadInput: for a dtype that the format does not know.
    """
    # Largest elements first keeps every tensor aligned, as the format asks.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name, tensor in ordered:
        if tensor.dtype not in _NAMES:
            raise BadInput(f"{path}: tensor {name!r} has dtype {tensor.dtype}, which safetensors lacks; convert it")
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, tensor in ordered:
        yield tensor_bytes(tensor)


def tensor_bytes(tensor: Tensor) -> memoryview:
    """A tensor's elements in row-major order, without a copy when it is contiguous and on the CPU."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and elements, whatever the order and the device."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}:{tensors[name].dtype}:{list(tensors[name].shape)};".encode())
        digest.update(tensor_bytes(tensors[name]))
    return digest.hexdigest()
