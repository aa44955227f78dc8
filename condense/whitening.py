"""ZCA matrices in the cache: one file for each specification, with a checksum of what was written.

Fitting takes a pass over the training split and minutes of algebra, so it is done once. Wrong matrices would show in
nothing but worse accuracies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from condense import files, zca
from condense.data import cache
from condense.errors import DamagedFile
from condense.tensor_format import checksum


def place(digest: str, cache_dir: str | os.PathLike[str] | None) -> Path:
    """The file of the matrices of a specification, whether it is there or not."""
    return cache.root(cache_dir) / "preprocessing" / f"zca-{digest[:32]}.safetensors"


def keep(path: Path, matrices: Mapping[str, Tensor]) -> None:
    """Writes matrices as `zca.matrices` gives them."""
    files.write_tensors(path, matrices, {"checksum": checksum(matrices)})


def kept(path: Path, size: int) -> dict[str, Tensor] | None:
    """The matrices of a whitening of `size` numbers, or None where no sound ones are: it is a cache."""
    try:
        matrices = _checked(path)
    except DamagedFile:
        return None
    return None if matrices is None or zca.misfit(matrices, size) else matrices


def verify(path: Path) -> list[str]:
    """What is wrong with a file of matrices; every byte is read."""
    try:
        _checked(path)
    except DamagedFile as error:
        return [str(error)]
    return []


def _checked(path: Path) -> dict[str, Tensor] | None:
    """None where nothing is, and for a file without a checksum: nobody can tell whether that is sound."""
    if not path.is_file() or (expected := files.read_metadata(path).get("checksum")) is None:
        return None
    matrices = files.read_tensors(path)
    if checksum(matrices) != expected:
        raise DamagedFile(path, "its matrices are not the ones that were written")
    return matrices
